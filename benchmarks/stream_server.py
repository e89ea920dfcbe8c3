"""A server of event streams whose every event's send time is known.

python stream_server.py EVENTS PERIOD_MS LOG    prints its port; serves until its standard input closes

`GET /N` is answered with EVENTS server-sent events of OpenAI's chat API with a token each, one every PERIOD_MS, and
`[DONE]`. The streams' phases are spread over the period. When it ends it writes LOG: int64 [sent, 3] of stream, event
and monotonic send time in ns.
"""

import heapq
import resource
import select
import socket
import sys
import time

import numpy as np

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = b'data: {"choices":[{"delta":{"content":"token"}}]}\n\n'
_CHUNK = b"%x\r\n%s\r\n" % (len(_EVENT), _EVENT)
_END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
_PHASE = 0.6180339887


def main() -> None:
    """Serve."""
    events, period_ns, log = int(sys.argv[1]), round(float(sys.argv[2]) * 1e6), sys.argv[3]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    epoll = select.epoll()
    epoll.register(listener.fileno(), select.EPOLLIN)
    epoll.register(sys.stdin.fileno(), select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    due: list[tuple[int, int, int, int]] = []
    sent: list[tuple[int, int, int]] = []
    while True:
        timeout = max(0.0, (due[0][0] - time.monotonic_ns()) / 1e9) if due else 1.0
        for fd, _ in epoll.poll(min(timeout, 0.001) if due else timeout):
            if fd == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                epoll.register(connection.fileno(), select.EPOLLIN)
            elif fd == sys.stdin.fileno():
                np.save(log, np.array(sent, np.int64).reshape(-1, 3))
                return
            else:
                data = connections[fd].recv(65536)
                if not data:
                    epoll.unregister(fd)
                    connections.pop(fd).close()
                    continue
                stream = int(data.split(b" ")[1][1:])
                connections[fd].sendall(_HEAD)
                phase = round(stream * _PHASE % 1.0 * period_ns)
                heapq.heappush(due, (time.monotonic_ns() + phase, fd, stream, 0))
        now = time.monotonic_ns()
        while due and due[0][0] <= now:
            at, fd, stream, event = heapq.heappop(due)
            last = event == events - 1
            now = time.monotonic_ns()
            connections[fd].sendall(_CHUNK + _END if last else _CHUNK)
            sent.append((stream, event, now))
            if not last:
                heapq.heappush(due, (at + period_ns, fd, stream, event + 1))


if __name__ == "__main__":
    main()
