"""The frame of exported pictures: rich's own, without the web font, so that a picture loads nothing from anywhere."""

from __future__ import annotations

import re
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT

_FONTS: Final = "ui-monospace, 'SFMono-Regular', Menlo, Consolas, 'DejaVu Sans Mono', monospace"

SVG_FORMAT: Final = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", _FONTS
)
