"""The style sheet of reports: black on white for print, light or dark as the reader's system has it."""

STYLE = """
:root { --ink: #1c1c1c; --faint: #6b6b6b; --rule: #cfcfcf; --paper: #ffffff; --cool: #0072b2; --warm: #d55e00; --x: #c0392b;
  --y: #2e8b3d; --z: #2c5fb3; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --faint: #a0a0a0; --rule: #474747; --paper: #16181b; --cool: #56b4e9; --warm: #ff9d4d; --x: #ff7b6b;
    --y: #6fd080; --z: #82aaff; }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 Charter, "Bitstream Charter", Georgia, serif; }
main { max-width: 1000px; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 0.6rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 0.5rem; padding-bottom: 0.2rem; border-bottom: 1px solid var(--rule); }
p { margin: 0.5rem 0; max-width: 46rem; }
.summary { font-size: 1.08rem; }
li { max-width: 46rem; margin: 0.25rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.6rem 0; font: 13px/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.65rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; }
thead th { border-bottom: 1px solid var(--ink); font-weight: 600; }
tbody th { font-weight: 400; }
.last-total tbody tr:last-child > * { border-top: 1px solid var(--rule); font-weight: 600; }
.record td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.small { font-size: 12px; }
.small th, .small td { padding: 0.2rem 0.45rem; }
.links td { background: color-mix(in srgb, var(--cool) calc(var(--share, 0%) * 0.55), transparent); }
.links td.own { color: var(--faint); }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 1.4rem; }
figure { margin: 0.5rem 0; width: 302px; }
figcaption, .hint { font: 12px/1.4 system-ui, sans-serif; color: var(--faint); margin-top: 0.3rem; }
svg { display: block; max-width: 100%; }
svg text { font: 11px system-ui, sans-serif; fill: var(--ink); }
.picture path { fill: none; }
.picture .bar { fill: var(--cool); fill-opacity: 0.75; }
.picture .outline { stroke: var(--warm); }
.picture .axis { stroke: var(--faint); stroke-width: 0.7; }
.picture .mark { stroke: var(--ink); }
.picture .dashed { stroke-dasharray: 3 3; }
.picture .cool path { fill: var(--cool); }
.picture .warm path { fill: var(--warm); }
.picture .dots { stroke: var(--ink); stroke-width: 1.4; stroke-linecap: round; stroke-opacity: 0.55; }
.picture .arrows { stroke: var(--ink); stroke-width: 1; }
#scene { width: 100%; border: 1px solid var(--rule); cursor: grab; touch-action: none; }
#scene path { fill: none; stroke-width: 1; stroke-linejoin: round; }
#scene .camera { stroke: var(--ink); stroke-width: 1.3; }
#scene .boards { stroke: var(--cool); stroke-opacity: 0.4; stroke-width: 0.8; }
#scene .floor { stroke: var(--rule); stroke-width: 0.7; }
#scene .axis-x { stroke: var(--x); stroke-width: 2.5; }
#scene .axis-y { stroke: var(--y); stroke-width: 2.5; }
#scene .axis-z { stroke: var(--z); stroke-width: 2.5; }
#scene path.scale { stroke: var(--ink); stroke-width: 3; }
#scene .name { font-weight: 600; }
@media print {
  main { max-width: none; padding: 0; }
  .small { font-size: 9px; }
  figure, table, svg { break-inside: avoid; }
  h2 { break-after: avoid; }
  .hint { display: none; }
}
"""
