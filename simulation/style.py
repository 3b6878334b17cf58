"""Style: the one stylesheet of all reports, for screens light and dark, phones and paper."""

from __future__ import annotations

# Dark colours apply on screens only: paper is white. The series are Okabe and Ito's, lightened on dark ground.
_SCREEN = """
:root { --ink: #1f2328; --muted: #59636e; --line: #d1d9e0; --paper: #ffffff; --ground: #f6f8fa; --accent: #0072b2;
  --warn: #8a4600; --warn-ground: #fff4e5; --warn-line: #e69f00;
  --series-1: #0072b2; --series-2: #c65400; --series-3: #00805d; --series-4: #b0558a; --series-5: #a66f00;
  --series-6: #2a8dc4; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --muted: #9aa4af; --line: #343b44;
  --paper: #0f1318; --ground: #171c22; --accent: #6cb8ec; --warn: #f2c275; --warn-ground: #2a2013;
  --warn-line: #a06a12;
  --series-1: #56b4e9; --series-2: #f2853d; --series-3: #35c495; --series-4: #dd93bb; --series-5: #e69f00;
  --series-6: #9ad3f5; } }
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 66rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 .35rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; letter-spacing: -.01em; margin: 3.25rem 0 .4rem; padding-top: .9rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0; }
p { margin: .5rem 0; max-width: 46rem; }
.kicker { color: var(--muted); font-size: .85rem; margin: 0 0 .5rem; letter-spacing: .02em; }
.sub { color: var(--muted); margin: 0 0 1.4rem; }
.lead { font-size: 1.1rem; max-width: 46rem; }
.aside { color: var(--muted); font-size: .9rem; }
.banner { margin: 1.4rem 0; padding: .7rem 1rem; max-width: none; border-left: 4px solid var(--warn-line);
  background: var(--warn-ground); color: var(--warn); border-radius: 0 6px 6px 0; font-size: .95rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); margin: 1.5rem 0; padding: 0;
  gap: 0;
  border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.tiles div { padding: .8rem 1.1rem .85rem; box-shadow: -1px -1px 0 var(--line); display: flex;
  flex-direction: column-reverse;
  justify-content: flex-end; }
.tiles dt { color: var(--muted); font-size: .84rem; line-height: 1.35; }
.tiles dd { margin: 0; font-size: 1.6rem; line-height: 1.25; font-weight: 600; letter-spacing: -.02em;
  white-space: nowrap; }
.tiles .main dd { color: var(--accent); }
.tiles .warn dd { color: var(--warn); }
.tiles .text dd { font-size: 1.15rem; line-height: 2rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1.75rem 2rem;
  margin: 1.25rem 0; }
figure { margin: 0; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; max-width: 34rem; overflow: visible; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { font-size: .9rem; color: var(--muted); margin: 0 0 .5rem; }
figcaption strong { color: var(--ink); }
.scroll { overflow-x: auto; margin: 1rem 0; }
.plots .scroll { margin-top: 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .42rem .9rem .42rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--muted); font-weight: 500; font-size: .82rem; line-height: 1.3; vertical-align: bottom; }
tbody th { font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.best { font-weight: 700; color: var(--accent); }
.differs td { background: var(--ground); }
.claims { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem;
  margin: 1.2rem 0; }
.claim { border: 1px solid var(--line); border-top: 3px solid var(--accent); border-radius: 0 0 10px 10px;
  padding: .9rem 1.1rem 1rem;
  break-inside: avoid; font-size: .95rem; }
.claim.none { border-top-color: var(--warn-line); }
.claim .figure { font-size: 1.25rem; font-weight: 600; letter-spacing: -.01em; margin: .1rem 0 .6rem; }
.claim.none .figure { color: var(--warn); }
.claim h4 { font-size: .84rem; font-weight: 600; color: var(--muted); margin: .9rem 0 .2rem; }
ul { margin: .25rem 0; padding-left: 1.1rem; max-width: 46rem; }
li { margin: .25rem 0; }
pre, code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .85rem; }
pre { background: var(--ground); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem;
  margin: .8rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.5; }
summary { cursor: pointer; color: var(--accent); font-size: .95rem; padding: .3rem 0; }
.pipeline { display: grid; grid-auto-flow: column; grid-template-rows: auto auto auto; margin: 1.3rem 0;
  grid-template-columns: 5.2rem repeat(var(--columns), minmax(7.2rem, 17rem)) 7rem; column-gap: 1.3rem; }
.lane { font-size: .82rem; font-weight: 600; color: var(--muted); line-height: 1.3; padding-top: .75rem; }
.box { position: relative; border: 1.5px solid var(--line); border-radius: 8px; background: var(--ground);
  padding: .6rem .7rem;
  font-size: .84rem; line-height: 1.35; display: flex; flex-direction: column; gap: .2rem; }
.box strong, .sum strong { font-size: .92rem; overflow-wrap: anywhere; }
.box span { color: var(--muted); overflow-wrap: anywhere; }
.box code { font-size: .78rem; overflow-wrap: anywhere; }
.box.idle { border-style: dashed; background: none; justify-content: center; }
.box.noise { border-color: var(--series-2); }
.box.noise strong { color: var(--series-2); }
.box.last { border-color: var(--accent); }
.box::after { position: absolute; color: var(--muted); font-size: 1rem; line-height: 1; }
.box.owner::after { content: "\\2192"; left: 100%; top: 50%; transform: translateY(-50%); width: 1.3rem;
  text-align: center; }
.box.server::after { content: "\\2190"; left: 100%; top: 50%; transform: translateY(-50%); width: 1.3rem;
  text-align: center; }
.signal { margin: .7rem 0; padding: 0 .15rem; font-size: .8rem; line-height: 1.3; }
.signal div { padding: .22rem 0; border-bottom: 1px solid var(--line); color: var(--muted); min-height: 2.55rem; }
.signal div:last-child { border: 0; }
.signal dt { font-size: .74rem; }
.signal dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.signal .changed dd { color: var(--ink); font-weight: 650; }
.sum { grid-row: 1 / span 3; border: 1.5px solid var(--ink); border-radius: 10px; padding: .8rem .7rem;
  display: flex; flex-direction: column;
  justify-content: center; text-align: center; gap: .35rem; font-size: .8rem; line-height: 1.35; }
.sum b { font-size: 2.2rem; line-height: 1; font-weight: 400; }
.sum span { color: var(--muted); overflow-wrap: anywhere; }
.key { display: inline-flex; margin-right: 1.4rem; align-items: center; gap: .4rem; }
.key i { width: 1.5rem; height: 0; border-top: 3px solid; display: inline-block; }
footer { margin-top: 3.5rem; padding-top: .9rem; border-top: 1px solid var(--line); color: var(--muted);
  font-size: .85rem; }
"""

# The same rules where columns do not fit: on a narrow screen, and for long pipelines everywhere.
_DOWNWARDS = """
SELECT { grid-auto-flow: row; grid-template-rows: none; grid-template-columns: 1fr 1.05fr 1fr; column-gap: .7rem;
  row-gap: 1.1rem; }
SELECT .lane { padding: 0; text-align: left; }
SELECT .box { padding: .5rem .55rem; }
SELECT .box.owner::after { content: "\\2193"; left: 50%; top: 100%; width: auto; transform: translateX(-50%); }
SELECT .box.server::after { content: "\\2191"; left: 50%; top: 100%; width: auto; transform: translateX(-50%); }
SELECT .signal { margin: 0; }
SELECT .signal div { min-height: 0; display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 .5rem; }
SELECT .sum { grid-row: auto; grid-column: 1 / -1; }
"""

_NARROW = """
@media (max-width: 60rem) { NARROW }
@media (max-width: 40rem) { body { padding: 1.4rem 1rem 3rem; } h1 { font-size: 1.5rem; } .lead { font-size: 1.02rem;
  }
  .tiles { grid-template-columns: 1fr 1fr; } .tiles dd { font-size: 1.3rem; } .tiles div { padding: .65rem .8rem; } }
@media print { html { font-size: 9pt; } body { max-width: none; padding: 0; } .plots { grid-template-columns: 1fr 1fr; }
  h2 { break-after: avoid; margin-top: 1.6rem; }
  .scroll { overflow: visible; } .pipeline, .tiles { break-inside: avoid; } details { display: none; } NARROW }
"""


def stylesheet() -> str:
    """The rules as text; columns of the pipeline turn into rows where they do not fit."""
    narrow = _NARROW.replace("NARROW", _DOWNWARDS.replace("SELECT", ".pipeline"))
    return _SCREEN + _DOWNWARDS.replace("SELECT", ".pipeline.tall") + narrow
