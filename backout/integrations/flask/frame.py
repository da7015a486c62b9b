"""How the frame around the pages looks, where the application has no layout of its own."""

from typing import Final

FRAME_STYLE: Final = """
.backout-frame { margin: 0; color-scheme: light dark; background: #f4f3f0; color: #1c2330;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.backout-frame > header, .backout-frame > main { max-width: 78rem; margin: 0 auto; padding: .75rem 1rem; }
.backout-frame > header nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; align-items: baseline; }
.backout-frame > header a { color: #2457a8; text-decoration: none; padding: .25rem 0; }
.backout-frame > header a:hover, .backout-frame > header a[aria-current] { text-decoration: underline; }
.backout-frame > header .site { margin-inline-start: auto; }
.backout-frame h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
.backout-frame .flash { margin: 0 0 .75rem; padding: .75rem 1rem; border-inline-start: .25rem solid #1f6d33;
  background: #e6f2e8; }
.backout-frame :focus-visible { outline: 3px solid #2457a8; outline-offset: 2px; }
@media (prefers-color-scheme: dark) {
  .backout-frame { background: #0d1015; color: #e6e9ef; }
  .backout-frame > header a { color: #8fb5f5; }
  .backout-frame .flash { border-color: #7fd398; background: #16281b; }
  .backout-frame :focus-visible { outline-color: #8fb5f5; }
}
"""
