/** The page without its story: page.ts fills it in. */
import { styles } from '../tools/analyze/report.ts'

const webStyles = `
:root { --card: #f6f8fa; --wash: #eef4fb; --warn: #9a4a00; } @media (prefers-color-scheme: dark) { :root { --card: #161b22; --wash: #111d2c; --warn: #ffa657; } }
body { max-width: 68rem; padding: 0; min-height: 100vh; display: grid; grid-template-rows: auto 1fr auto; }
header, footer, main { padding: 0 clamp(1rem, 4vw, 2.5rem); }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 1rem; padding-top: clamp(1rem, 4vh, 2.5rem); }
h1 { font-size: 1.35rem; letter-spacing: -0.01em; margin: 0; } header p { margin: 0; }
main { display: grid; gap: 1.5rem; grid-template-columns: minmax(0, 1fr); align-content: start; padding-block: 1.5rem; }
@media (min-width: 56rem) { main { grid-template-columns: minmax(0, 1fr) 17rem; gap: 2.5rem; } aside { position: sticky; top: 1.5rem; align-self: start; } }
#story { min-height: 15rem; font: 1.2rem/1.75 Georgia, 'Iowan Old Style', 'Noto Serif', 'DejaVu Serif', serif; max-width: 38rem; overflow-wrap: anywhere; white-space: pre-wrap; }
#story:empty::before { content: attr(data-hint); color: var(--muted); font-style: italic; }
#story .told { color: var(--accent); } #story .end { display: block; text-align: center; color: var(--muted); margin-top: 1rem; letter-spacing: 0.6em; }
#story[aria-busy=true]::after { content: ''; display: inline-block; width: 0.5em; height: 1.05em; margin-left: 0.1em; vertical-align: -0.15em; background: var(--accent); border-radius: 2px; animation: blink 1s steps(2, jump-none) infinite; }
@keyframes blink { to { opacity: 0; } } @media (prefers-reduced-motion: reduce) { #story[aria-busy=true]::after, progress { animation: none; } }
form { border: 1px solid var(--faint); border-radius: 14px; background: var(--card); padding: 0.75rem; margin-top: 1.5rem; }
form:focus-within { border-color: var(--accent); }
form > label { display: block; font-size: 0.85rem; color: var(--muted); padding: 0 0.35rem; }
textarea { display: block; width: 100%; resize: vertical; min-height: 3.6rem; border: 0; background: none; color: var(--ink); font: 1.05rem/1.5 Georgia, 'Noto Serif', 'DejaVu Serif', serif; padding: 0.35rem; }
textarea:focus-visible { outline: 0; } textarea::placeholder { color: var(--muted); opacity: 1; }
.actions { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: center; margin-top: 0.25rem; }
button { font: inherit; font-weight: 600; min-height: 2.75rem; padding: 0 1.15rem; border-radius: 999px; border: 1px solid var(--faint); background: var(--paper); color: var(--ink); cursor: pointer; }
button:hover:enabled { border-color: var(--accent); } button:disabled { opacity: 0.45; cursor: default; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--paper); } kbd { font: inherit; font-size: 0.8rem; font-weight: 400; opacity: 0.75; margin-left: 0.4rem; }
@media (hover: none) { kbd { display: none; } }
.examples { display: flex; flex-wrap: wrap; gap: 0.4rem; margin: 0.75rem 0 0; padding: 0; list-style: none; } .examples button { font-weight: 400; font-size: 0.9rem; min-height: 2.4rem; color: var(--muted); }
aside h2 { font-size: 0.8rem; font-weight: 600; color: var(--muted); margin: 0 0 0.5rem; } aside section + section { margin-top: 1.75rem; }
.speed { font-size: 2.6rem; font-weight: 650; line-height: 1.1; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; margin: 0; } .speed small { font-size: 1rem; font-weight: 400; color: var(--muted); letter-spacing: 0; }
dl { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 0.2rem 1rem; margin: 0.75rem 0 0; font-size: 0.9rem; font-variant-numeric: tabular-nums; } dt { color: var(--muted); } dd { margin: 0; text-align: right; }
#why { font-size: 0.85rem; color: var(--muted); margin: 0.75rem 0 0; overflow-wrap: anywhere; } #why.single { color: var(--warn); } #why:empty { display: none; }
progress { appearance: none; width: 100%; height: 0.5rem; border: 0; border-radius: 99px; overflow: hidden; background: var(--faint); display: block; } progress::-webkit-progress-bar { background: var(--faint); } progress::-webkit-progress-value { background: var(--accent); transition: width 0.15s; } progress::-moz-progress-bar { background: var(--accent); }
#loading { margin: 0 0 1.5rem; max-width: 38rem; } #loading p { margin: 0 0 0.5rem; color: var(--muted); font-variant-numeric: tabular-nums; } [hidden] { display: none !important; }
.problem { border-left: 4px solid #d55e00; background: var(--card); border-radius: 0 8px 8px 0; padding: 0.75rem 1rem; margin: 0 0 1.5rem; max-width: 38rem; overflow-wrap: anywhere; } .problem p { margin: 0 0 0.5rem; }
.setting { display: block; font-size: 0.9rem; margin-top: 0.75rem; } .setting > span { display: flex; justify-content: space-between; color: var(--muted); } .setting output { color: var(--ink); font-variant-numeric: tabular-nums; }
input[type=range] { width: 100%; min-height: 2rem; margin: 0; accent-color: var(--accent); } input[type=number] { width: 100%; font: inherit; padding: 0.4rem 0.6rem; min-height: 2.6rem; border: 1px solid var(--faint); border-radius: 8px; background: var(--paper); color: var(--ink); }
.row { display: flex; align-items: center; gap: 0.5rem; min-height: 2.4rem; font-size: 0.9rem; } input[type=checkbox] { width: 1.15rem; height: 1.15rem; accent-color: var(--accent); margin: 0; }
footer { padding-block: 1rem 1.5rem; font-size: 0.85rem; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: 1rem; background: var(--paper); padding: 0.5rem; z-index: 1; }
@media (max-width: 40rem) { #story { font-size: 1.12rem; min-height: 9rem; } .actions button.main { flex: 1; } kbd { display: none; } }
`

export function webHtml(): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="theme-color" media="(prefers-color-scheme: light)" content="#ffffff">
<meta name="theme-color" media="(prefers-color-scheme: dark)" content="#0d1117">
<title>gta-edge: a story from your browser</title>
<link rel="icon" href="data:,">
<style>${styles}${webStyles}</style>
</head>
<body>
<a class="skip" href="#prompt">To the prompt</a>
<header><h1>gta-edge</h1><p>Stories from a small language model, computed in this browser.</p></header>
<main>
<div>
<div id="loading" role="status"><p>Starting …</p><progress max="1" value="0" aria-label="Loading the model"></progress></div>
<div class="problem" role="alert" hidden><p></p><button type="button" id="again">Load again</button></div>
<div id="story" role="region" aria-label="The story" tabindex="0" data-hint="The story will be told here."></div>
<form id="tell">
<label for="prompt">How does it begin?</label>
<textarea id="prompt" rows="2" maxlength="4000" autocomplete="off"></textarea>
<div class="actions">
<button class="main" id="go" disabled>Tell<kbd>Enter</kbd></button>
<button type="button" id="stop" disabled>Stop<kbd>Esc</kbd></button>
<button type="button" id="new" disabled>New story</button>
</div>
</form>
<ul class="examples" aria-label="Beginnings to try">
<li><button type="button" disabled>Once there was a robot who</button></li>
<li><button type="button" disabled>The fox said to the hare,</button></li>
<li><button type="button" disabled>Lily found a small door in the</button></li>
</ul>
</div>
<aside>
<section aria-labelledby="how"><h2 id="how">How fast</h2>
<p class="speed"><span id="speed">–</span> <small>tokens/s</small></p>
<dl>
<dt>Tokens</dt><dd id="tokens">–</dd>
<dt>First after</dt><dd id="first">–</dd>
<dt>Memory</dt><dd id="memory">–</dd>
<dt>Weights</dt><dd id="weights">–</dd>
<dt>Engine</dt><dd id="engine">–</dd>
<dt>Threads</dt><dd id="threads">–</dd>
</dl>
<p id="why"></p>
</section>
<section aria-labelledby="settings"><h2 id="settings">Settings</h2>
<label class="setting" for="temperature"><span>Temperature <output id="degrees"></output></span><input form="tell" type="range" id="temperature" name="temperature" min="0" max="1.5" step="0.05" value="0.7"></label>
<label class="setting" for="length"><span>Length, at most <output id="most"></output></span><input form="tell" type="range" id="length" name="length" min="20" max="400" step="20" value="200"></label>
<label class="setting"><span>Seed</span><input form="tell" type="number" name="seed" min="0" max="4294967295" step="1" value="1" inputmode="numeric"></label>
<label class="row"><input form="tell" type="checkbox" name="fresh" checked>another seed for each story</label>
</section>
</aside>
</main>
<footer><p>Everything happens in this page: no text leaves it, nothing stays behind when you close it. The same seed and settings tell the same story on every machine.</p></footer>
<script type="module" src="/page.mjs"></script>
</body>
</html>
`
}
