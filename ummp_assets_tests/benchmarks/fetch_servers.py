"""What the benchmark `fetch` downloads from: nginx on loopback, slow hosts, and hosts that swallow connections."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np

__all__ = ["Site", "black_hole", "free_port", "serve_site", "write_jpegs"]

_NGINX_CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 8192; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ image/jpeg jpg; }}
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen {port} backlog=8192; root {root}; }}
  server {{ listen {slow_port} backlog=8192; root {root}; limit_rate 20k; }}
}}
"""


class Site:
    """Where nginx serves: `port` at full speed, `slow_port` at 20 kB/s for each connection."""

    def __init__(self, port: int, slow_port: int) -> None:
        self.port, self.slow_port = port, slow_port


def free_port() -> int:
    """Return a port that nobody uses on any address of this machine."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


def write_jpegs(folder: Path, count: int) -> list[str]:
    """Write JPEGs of 5 to 200 kB, 33 kB in the median, and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    names = []
    for number in range(count):
        side = int(np.clip(random.lognormal(np.log(325), 0.32), 128, 800))
        coarse = random.integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        names.append(f"{number:05d}.jpg")
        cv2.imwrite(str(folder / names[-1]), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return names


@contextmanager
def serve_site(root: Path, folder: Path) -> Iterator[Site]:
    """Run nginx over a folder of files; raises `FileNotFoundError` when it is not installed."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise FileNotFoundError("nginx is not installed (Debian: nginx-light)")
    site = Site(free_port(), free_port())
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nginx.conf"
    config.write_text(_NGINX_CONFIG.format(folder=folder, root=root, port=site.port, slow_port=site.slow_port))
    with subprocess.Popen([nginx, "-e", str(folder / "error.log"), "-c", str(config)]) as process:
        try:
            _wait_for(site.port)
            yield site
        finally:
            process.terminate()


@contextmanager
def black_hole() -> Iterator[int]:
    """Yield a port on which every connection to any 127.x.y.z is swallowed: its queue is full, so that the kernel drops
    what would open another one."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("0.0.0.0", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")
