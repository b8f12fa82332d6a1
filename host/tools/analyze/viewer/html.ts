/** The page of the viewer without its numbers: page.ts fills it in. */
import { styles } from '../report.ts'

const viewerStyles = `
main { display: grid; gap: 1rem 1.5rem; grid-template-columns: minmax(0, 1fr); }
@media (min-width: 64rem) { main { grid-template-columns: 17rem minmax(0, 1fr); } form { position: sticky; top: 1rem; align-self: start; max-height: calc(100vh - 2rem); overflow-y: auto; } }
form { border: 1px solid var(--faint); border-radius: 8px; padding: 0.75rem 1rem 1rem; }
fieldset { border: 0; padding: 0; margin: 0.75rem 0 0; } legend { font-weight: 600; padding: 0; }
label { display: block; margin: 0.5rem 0 0; font-size: 0.9rem; } label > span { color: var(--muted); display: block; }
label.row { display: flex; align-items: center; gap: 0.5rem; } label.row > span { color: inherit; }
select, input[type=number], output { width: 100%; font: inherit; padding: 0.35rem 0.5rem; min-height: 2.4rem; border: 1px solid var(--muted); border-radius: 6px; background: var(--paper); color: var(--ink); }
input[type=range] { width: 100%; min-height: 1.6rem; accent-color: var(--accent); } input[type=radio], input[type=checkbox] { width: 1.1rem; height: 1.1rem; accent-color: var(--accent); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 0.75rem; } .triple { display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 0 0.5rem; }
.problem { border-left: 4px solid #d55e00; padding: 0.5rem 0.75rem; margin: 0 0 1rem; } .problem:empty { display: none; }
.graphs { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); align-items: start; }
body { max-width: 104rem; } :disabled { opacity: 0.5; }
@media (min-width: 80rem) { .layer { display: grid; grid-template-columns: minmax(0, 1fr) 20rem; gap: 1.5rem; } #detail { position: sticky; top: 1rem; align-self: start; } #detail table { min-width: 0; font-size: 0.8rem; } }
@media (max-width: 40rem) { #graphs figure { overflow-x: auto; } #graphs svg { min-width: 34rem; } }
g[data-op] { cursor: pointer; } g[data-op]:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
#detail { min-height: 3rem; } .key span { display: inline-block; width: 0.8rem; height: 0.8rem; border-radius: 3px; vertical-align: -0.05rem; margin: 0 0.3rem 0 0.8rem; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: 1rem; background: var(--paper); padding: 0.5rem; z-index: 1; }
@media print { form, .skip { display: none; } main { display: block; } }
`

export function viewerHtml(): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gta view</title>
<link rel="icon" href="data:,">
<style>${styles}${viewerStyles}</style>
</head>
<body>
<a class="skip" href="#results">To the results</a>
<header><h1>gta view</h1><p>What a language model will do on a device, before it runs.</p></header>
<main>
<form aria-label="Settings">
<label><span>Model</span><select name="a"></select></label>
<label><span>Beside it</span><select name="b"></select></label>
<label><span>Hardware</span><select name="hardware"></select></label>
<fieldset><legend>Stage</legend><div class="pair">
<label class="row"><input type="radio" name="stage" value="prefill"><span>prefill</span></label>
<label class="row"><input type="radio" name="stage" value="decode" checked><span>decode</span></label></div></fieldset>
<label><span>Batch</span><input type="number" name="batch" min="1" max="4096" step="1" value="1" required></label>
<label><span>Context, tokens</span><input type="number" name="seqlen" min="1" max="16777216" step="1" value="2048" required></label>
<label><span>Context, by doubling</span><input type="range" name="doubling" min="5" max="20" step="1" value="11"></label>
<fieldset><legend>Numbers</legend>
<label><span>Formats</span><select name="formats">
<option value="q8">this engine: q8, int8 cache</option><option value="q4">this engine: q4, int8 cache</option><option value="f32">this engine: f32, f32 cache</option>
<option value="bits">other engines: bits as below</option><option value="llm-viewer">LLM-Viewer’s formulas: bits as below</option></select></label>
<div class="triple">
<label><span>weights</span><input type="number" name="w" min="1" max="32" value="16"></label>
<label><span>activations</span><input type="number" name="act" min="1" max="32" value="16"></label>
<label><span>cache</span><input type="number" name="kv" min="1" max="32" value="16"></label></div>
<label class="row"><input type="checkbox" name="flash"><span>flash attention</span></label></fieldset>
</form>
<div id="results" tabindex="-1">
<p class="problem" role="alert"></p>
<section aria-live="polite" id="summary"></section>
<section id="sentences"></section>
<section><h2>One layer</h2><p class="key"><span style="background:#d55e00"></span>bound by memory <span style="background:#0072b2"></span>bound by arithmetic</p><div class="layer"><div class="graphs" id="graphs"></div><div id="detail" aria-live="polite"></div></div></section>
<section><h2>Roofline, time and context</h2><div class="plots" id="plots"></div></section>
<section id="tables"></section>
</div>
</main>
<footer><p>Everything is computed in this page; nothing leaves it. The address keeps the settings.</p></footer>
<script type="module" src="/viewer.mjs"></script>
</body>
</html>
`
}
