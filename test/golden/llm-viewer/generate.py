"""Runs the GTA authors' copy of LLM-Viewer and writes what it computes, for test/analyze.test.ts.

    git clone https://github.com/plm-team/GTA && git -C GTA checkout d56d00c
    python3 test/golden/llm-viewer/generate.py GTA/llm_viewer models/configs > test/golden/llm-viewer/golden.json

Needs Python 3 and nothing else: `transformers`, which the tool uses to read a config.json, is stood in for below.

Everything is in doubles. `digests` hold all numbers of the whole grid, as SHA-256 over little-endian doubles in the order
of the loops here; `cases` are some of them written out, for a person to see where a difference is.
"""
import contextlib, hashlib, io, json, os, struct, sys, types

tool, configs = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])


class Params:
    def __init__(self, fields):
        self.__dict__.update(fields)


class AutoConfig:
    @staticmethod
    def from_pretrained(path, **_):
        return Params(json.load(open(path)))


stand_in = types.ModuleType("transformers")
stand_in.AutoConfig = AutoConfig
stand_in.AutoTokenizer = stand_in.AutoModelForCausalLM = None
sys.modules["transformers"] = stand_in
sys.path.insert(0, tool)
os.chdir(tool)

from hardwares.hardware_params import hardware_params
from model_analyzer import ModelAnalyzer as GqaAnalyzer
from model_analyzer_gta import ModelAnalyzer as GtaAnalyzer

models = {"gta-1b": (GtaAnalyzer, "configs/gla.py"), "gqa-1b": (GqaAnalyzer, "configs/Llama.py")}
batches = [1, 2, 4, 8, 16, 32]
lengths = [128, 256, 512, 1024, 2048, 4096]
widths = [(16, 16, 16), (8, 16, 16), (8, 8, 8), (4, 16, 8)]
totals = [
    "OPs", "memory_access", "load_weight", "load_act", "store_act", "load_kv_cache", "store_kv_cache", "inference_time",
    "memory_consumption", "memory_consumption_weight", "memory_consumption_kv_cache", "memory_consumption_tmp_act",
]
columns = [
    "OPs", "memory_access", "arithmetic_intensity", "performance", "load_weight", "load_act", "store_act",
    "load_kv_cache", "store_kv_cache", "inference_time",
]


def analyzer(model, hardware):
    kind, config = models[model]
    with contextlib.redirect_stdout(io.StringIO()):
        return kind(os.path.join(configs, model + ".json"), hardware, config)


# An oddity of no consequence is kept out: the sizes that the grid takes never meet a device without an INT8 entry.
hardwares = [name for name, device in hardware_params.items() if "INT8" in device]
digests, cases, generations = {}, [], []
for model in models:
    for hardware in hardwares:
        tool_of = analyzer(model, hardware)
        digest = hashlib.sha256()
        for w, a, kv in widths:
            for flash in (False, True):
                for batch in batches:
                    for length in lengths:
                        results = tool_of.analyze(length, batch, w, a, kv, use_flashattention=flash)
                        for stage in ("prefill", "decode"):
                            rows = results[stage]
                            for name, row in rows.items():
                                digest.update(name.encode())
                                digest.update(row["bound"].encode())
                                digest.update(struct.pack("<10d", *(row[column] for column in columns)))
                            total = results["total_results"][stage]
                            digest.update(struct.pack("<12d", *(total[name] for name in totals)))
                            if hardware in ("nvidia_H100", "nvidia_A100_80G") and batch in (1, 8) and length == 2048:
                                case = {"model": model, "hardware": hardware, "w_bit": w, "a_bit": a, "kv_bit": kv,
                                        "flash": flash, "batch": batch, "seqlen": length, "stage": stage}
                                case.update({name: total[name] for name in totals})
                                if hardware == "nvidia_H100" and batch == 8 and w == 16:
                                    case["ops"] = [{"op": name, **row} for name, row in rows.items()]
                                cases.append(case)
        digests[f"{model} {hardware}"] = digest.hexdigest()
    for flash in (False, True):
        spent = analyzer(model, "nvidia_H100").analyze_generate_task(300, 20, 2, 16, 16, 16, use_flashattention=flash)
        generations.append({"model": model, "flash": flash, "prompt": 300, "gen": 20, "batch": 2, **spent})
json.dump({"digests": digests, "generations": generations, "cases": cases}, sys.stdout, separators=(",", ":"))
print()
