"""Slices by address: /slices/KEY/AXIS/INDEX?…, read, filtered and encoded beside the event loop."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from fastapi import APIRouter, HTTPException, Response
from numpy.typing import NDArray
from PIL import Image

from etpick.errors import EtpickError
from etpick.serve.display import Display, grey_table, show_slice
from etpick.serve.workspace import Workspace

CACHE_BYTES: Final = 256_000_000
_QUALITY: Final = 88
_THUMBNAIL_PX: Final = 192
_WORKERS: Final = 2


class Slices:
    """Encodes slices, and remembers so many bytes of the last ones."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="slices")
        self._images: OrderedDict[Any, bytes] = OrderedDict()
        self._tables: dict[str, NDArray[np.float32]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def image(self, key: str, axis: int, index: int, display: Display) -> bytes:
        """A slice as JPEG. Raises EtpickError for a tomogram or a slice that is not there."""
        name = (key, axis, index, display)
        with self._lock:
            if name in self._images:
                self._images.move_to_end(name)
                return self._images[name]
        tomogram = self.workspace.tomogram(key)
        if not (axis in (0, 1, 2) and 0 <= index < tomogram.shape[axis]):
            raise EtpickError(f"{tomogram.name} has no slice {index} across axis {axis}: its shape is {tomogram.shape}")
        data = encode(show_slice(tomogram, axis, index, display, self.table(key)))
        with self._lock:
            self._images[name] = data
            self._bytes += len(data)
            while self._bytes > CACHE_BYTES:
                self._bytes -= len(self._images.popitem(last=False)[1])
        return data

    def thumbnail(self, key: str) -> bytes:
        """The middle slice, averaged over a few, small."""
        tomogram = self.workspace.tomogram(key)
        image = show_slice(tomogram, 0, tomogram.shape[0] // 2, Display(slab=2), self.table(key))
        small = Image.fromarray(image)
        small.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
        return encode(np.asarray(small))

    def table(self, key: str) -> NDArray[np.float32]:
        """The grey levels of a tomogram, measured once."""
        if key not in self._tables:
            self._tables[key] = grey_table(self.workspace.tomogram(key))
        return self._tables[key]

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()

        @router.get("/slices/{key}/{axis}/{index}")
        async def slice_image(
            key: str, axis: int, index: int, black: float = 0.5, white: float = 99.5, slab: int = 0,
            sigma: float = 0.0, lowpass: float = 0.0, equalise: bool = False, invert: bool = False,
        ) -> Response:  # fmt: skip
            display = Display(black, white, slab, sigma, lowpass, equalise, invert)
            return await self._answer(self.image, key, axis, index, display)

        @router.get("/thumbnails/{key}")
        async def thumbnail(key: str) -> Response:
            return await self._answer(self.thumbnail, key)

        return router

    async def _answer(self, make: Any, *arguments: Any) -> Response:
        import asyncio

        try:
            data = await asyncio.get_running_loop().run_in_executor(self.pool, make, *arguments)
        except EtpickError as error:
            raise HTTPException(404, str(error)) from None
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})


def encode(image: NDArray[np.uint8]) -> bytes:
    """(rows, columns) grey → JPEG: smaller and made sooner than PNG where there is noise (benchmarks/engines.py)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
