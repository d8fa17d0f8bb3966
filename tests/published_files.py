"""Files of data as they are published, malicious files, and a server that sends them."""

import contextlib
import hashlib
import io
import tarfile
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from gluon_rbm.data import downloads

IDX_NAMES = [file.name for file in downloads.SOURCES["mnist"]]


def idx_bytes(array, dtype_code=8):
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, dtype_code, array.ndim]) + sizes + array.tobytes()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def cifar10_archive(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def cifar10_members():
    """Files of CIFAR-10 with two records each.

    Image r of file f has label 2 f + r. Its pixels are red f, green 100 + row, blue 200 + column.
    """
    rows, columns = np.mgrid[:32, :32].astype(np.uint8)
    members = {"readme.html": b"hello"}
    for f, name in enumerate(
        ["data_batch_2", "data_batch_1", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
    ):
        planes = np.stack([np.full_like(rows, f), 100 + rows, 200 + columns]).tobytes()
        members[f"{name}.bin"] = b"".join(bytes([2 * f + record]) + planes for record in (0, 1))
    return members


class Server:
    """Answers `/folder/name` from `folders`: {folder: {name: bytes}}.

    Files of folders in `cut` lose their second half. Folders in `redirected` redirect to
    themselves. Answers of folders in `endless` and `slow` do not end.
    """

    def __init__(self):
        self.folders, self.cut, self.requests = {}, set(), []
        self.redirected, self.endless, self.slow = set(), set(), set()
        self.locations = {}  # {folder: address that it redirects to}
        self.slow_answers = 0  # slow answers that have begun
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                _, folder, name = self.path.split("/")
                server.requests.append((folder, name))
                content = server.folders.get(folder, {}).get(name)
                if folder in server.redirected or folder in server.locations:
                    self.send_response(302)
                    self.send_header("Location", server.locations.get(folder, self.path))
                    self.end_headers()
                    return
                if folder in server.slow | server.endless:
                    self.send_response(200)
                    self.end_headers()
                    number = folder in server.slow
                    with contextlib.suppress(OSError):  # the client ends the connection
                        while not server.closed:
                            self.wfile.write(bytes(1 << 16) if folder in server.endless else b"x")
                            server.slow_answers += number
                            number = 0
                            time.sleep(0.02 if folder in server.slow else 0)
                    return
                self.send_response(404 if content is None else 200)
                content = content or b""
                self.send_header("Content-Length", str(len(content)))
                # Some servers send this with archives. The client must not unpack them.
                self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if folder in server.cut else content)

            def log_message(self, *args):
                pass

        self.closed = False
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def mirror(self, folder):
        return f"http://127.0.0.1:{self.http.server_port}/{folder}/"


def bomb(side):
    """A small file that claims to be a grey PNG of side x side black pixels."""
    parts = {b"IHDR": side.to_bytes(4, "big") * 2 + b"\x08\0\0\0\0", b"IDAT": zlib.compress(bytes(10**6)), b"IEND": b""}
    chunks = [len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
              for name, data in parts.items()]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
