"""The style of a report, for light and dark, phone and desktop, and the script that draws it."""

STYLE = """
:root { color-scheme: light dark;
  --back: #f6f7f9; --card: #ffffff; --text: #1d2430; --soft: #5d6675; --faint: #dfe3e9;
  --red: #d03b3b; --c0: #2a6fdb; --c1: #e0822c; --c2: #1f9d78; --c3: #a34fc2; --c4: #b59400;
  --c5: #d1587f; --c6: #2f9db3; --c7: #7d6a55;
  --q0: #1b4e9b; --q1: #6ba4f5; --q2: #f0b25e; --q3: #d9532b; }
@media (prefers-color-scheme: dark) { :root {
  --back: #12161c; --card: #1b2129; --text: #e6eaf0; --soft: #9ba6b5; --faint: #333c48;
  --red: #f0706b; --c0: #6ba4f5; --c1: #f2a35e; --c2: #4cc9a2; --c3: #c88ae0; --c4: #dcbf45;
  --c5: #ee8cab; --c6: #66c6d9; --c7: #b8a48c;
  --q0: #c9defc; --q1: #5b95e8; --q2: #e8b25c; --q3: #f0703f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 64rem; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .25rem; }
p { margin: .25rem 0; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--faint); border-radius: 10px;
  padding: 1rem 1.1rem; margin-top: 1rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem;
  margin: 1rem 0 0; }
dl div { background: var(--card); border: 1px solid var(--faint); border-radius: 10px;
  padding: .6rem .8rem; }
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.plot { width: 100%; min-height: 3rem; margin-top: .75rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 0 1.5rem; margin-top: .75rem; }
h3 { font-size: .95rem; font-weight: 600; margin: .75rem 0 0; }
.pair h3 { margin: 0; }
ul { list-style: none; margin: .6rem 0 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .15rem 1rem; font-size: .9rem; }
li { overflow-wrap: anywhere; }
li::before { content: ""; display: inline-block; width: .75em; height: .75em; border-radius: 2px;
  margin-right: .45em; background: var(--mark); }
details { margin-top: .75rem; }
summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; max-height: 26rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: .875rem; margin-top: .5rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--faint); }
th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere;
  min-width: 8rem; }
#vg-tooltip-element.vg-tooltip { position: fixed; z-index: 9; padding: .4rem .6rem;
  background: var(--card); color: var(--text); border: 1px solid var(--faint);
  border-radius: 6px; font-size: .85rem; pointer-events: none; visibility: hidden;
  max-width: min(26rem, 90vw); box-shadow: 0 2px 8px #0003; }
#vg-tooltip-element.visible { visibility: visible; }
#vg-tooltip-element td { border: 0; padding: 0 .5rem 0 0; text-align: left; white-space: normal;
  overflow-wrap: anywhere; min-width: 0; }
#vg-tooltip-element td.key { color: var(--soft); }
"""

# `ast`: Vega interprets expressions, so that the page's policy can forbid `eval`.
DRAW = """
const plots = JSON.parse(document.getElementById("plots").textContent);
const options = { renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" } };
for (const [name, plot] of Object.entries(plots)) vegaEmbed("#" + name, plot, options);
"""
