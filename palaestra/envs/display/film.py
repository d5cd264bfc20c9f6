"""Films: frames into an MP4 that every browser plays."""

import subprocess
from pathlib import Path
from types import TracebackType

import numpy as np

from palaestra.sim.errors import PalaestraError


def _ffmpeg() -> str:
    """The program's path."""
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise PalaestraError(
            f"films need ffmpeg, which was not found: {error}. Fix: pip install imageio-ffmpeg, "
            "or install ffmpeg and set IMAGEIO_FFMPEG_EXE to its path"
        ) from error


class Film:
    """Writes frames, uint8 [H, W, 3] of one size, as H.264 in yuv420p; a last odd row or column is doubled.

    A context manager. Until it is closed the film has a temporary name beside `path`, so a film that is there is whole;
    where the block raises, or no frame came, there is none.
    """

    def __init__(self, path: str | Path, fps: float = 20.0):
        self.path, self.fps, self.frames = Path(path), fps, 0
        if fps <= 0:
            raise PalaestraError(f"film: got {fps} frames a second, expected more than 0")
        if self.path.suffix.lower() != ".mp4":
            raise PalaestraError(f"film: got the name {self.path.name!r}, expected one that ends in .mp4")
        self._program = _ffmpeg()
        self._part = self.path.with_name(f".{self.path.stem}.part.mp4")
        self._shape: tuple[int, ...] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._part.touch()
        except OSError as error:
            raise PalaestraError(f"film: cannot write into {str(self.path.parent)!r}: {error}. Fix: choose another folder") from error

    def add(self, frame: np.ndarray) -> None:
        """One more frame."""
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3 or self._shape not in (None, frame.shape):
            expected = list(self._shape or ("H", "W", 3))
            raise PalaestraError(f"film: got a frame of {frame.dtype} {list(frame.shape)}, expected uint8 {expected}")
        h, w, _ = self._shape = frame.shape
        if h % 2 or w % 2:
            frame = np.pad(frame, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge")
        if self._process is None:
            self._process = self._start(frame.shape[1], frame.shape[0])
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)  # type: ignore[union-attr]
        except BrokenPipeError:
            self._finish()
        self.frames += 1

    def _start(self, width: int, height: int) -> "subprocess.Popen[bytes]":
        command = [self._program, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        command += ["-r", f"{self.fps}", "-i", "-", "-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "20"]
        command += ["-pix_fmt", "yuv420p", "-movflags", "+faststart", str(self._part)]
        # A session of its own, so that Ctrl-C reaches Python first and the film still ends well.
        return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    def _finish(self) -> None:
        """Wait for ffmpeg to end, and say what it said where it went wrong."""
        process, self._process = self._process, None
        if process is not None:
            _, said = process.communicate()
            if process.returncode:
                self._part.unlink(missing_ok=True)
                raise PalaestraError(f"film: ffmpeg could not write {self.path}: {said.decode(errors='replace').strip()}")

    def close(self, keep: bool = True) -> None:
        """Finish the film, or throw it away; again is fine."""
        self._finish()
        if keep and self.frames and self._part.exists():
            self._part.replace(self.path)
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> "Film":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(keep=kind is None)
