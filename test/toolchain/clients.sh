#!/usr/bin/env bash
# Installs the clients of the server's APIs, Express, Fastify and Node-RED into test/toolchain/clients/node_modules, at the versions of their package-lock.json.
set -euo pipefail
cd "$(dirname "$0")/clients"
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
