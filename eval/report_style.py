"""Style sheet of a report: one column, light and dark, no outside resources."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fbfaf8; --card: #ffffff; --text: #1d1f23; --muted: #646a73; --line: #e2e0dc;
  --good: #1a7f4e; --bad: #b3392c;
  --series-1: #7a8597; --series-2: #d9620f; --series-3: #1f6fd1; --series-4: #12866b;
  --series-5: #8747b8; --series-6: #b0861a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16181c; --card: #1e2126; --text: #e8e9ec; --muted: #9aa1ab; --line: #33373e;
    --good: #5fcf98; --bad: #ff8b7d;
    --series-1: #97a3b6; --series-2: #ff9a4d; --series-3: #70adff; --series-4: #45c9a7;
    --series-5: #c594f0; --series-6: #e0bb55;
  }
}
* { box-sizing: border-box; }
figure { margin: 0; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem;
  background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0 1.5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.75rem; }
p { max-width: 44rem; margin: 0 0 0.75rem; }
.plot, .scroll, .stats, .tiles { margin-bottom: 0.75rem; }
.note, figcaption { color: var(--muted); font-size: 0.875rem; }
.stats { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 0.75rem; }
.stat, .plot, .tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.stat { padding: 0.8rem 1rem; }
.stat b { display: block; font-size: 1.6rem; line-height: 1.3; font-weight: 600; }
.stat span { display: block; color: var(--muted); font-size: 0.875rem; line-height: 1.4; }
.plot { padding: 0.75rem; max-width: 34rem; }
.plot svg { display: block; width: 100%; height: auto; }
.plot svg text { font-family: inherit !important; }
.plot figcaption { margin-top: 0.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.4rem 0.9rem 0.4rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--muted); font-weight: 500; vertical-align: bottom; }
td.number, th.number { text-align: right; }
td.number, th, td:first-child { white-space: nowrap; }
.tiles { display: grid; gap: 0.75rem;
  grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
.tile { overflow: hidden; font-size: 0.8125rem; line-height: 1.4; }
.tile img { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; }
.tile img.small { image-rendering: pixelated; }
.tile figcaption { padding: 0.5rem 0.6rem; font-size: inherit; color: var(--text); }
.verdict { display: block; color: var(--muted); }
.right { color: var(--good); }
.wrong { color: var(--bad); }
""".strip()
