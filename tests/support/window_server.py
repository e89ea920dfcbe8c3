"""A small model server: workers that gather requests for a while and answer them as one batch."""

import argparse
import asyncio
import json

TYPES = {"requests_total": "counter", "batches_total": "counter", "wait_seconds_total": "counter", "queue": "gauge"}
FIXED_S, EACH_S = 0.002, 0.0002


class Server:
    def __init__(self, window_s):
        self.window_s, self.waiting, self.counts = window_s, asyncio.Queue(), dict.fromkeys(TYPES, 0)

    async def work(self):
        while True:
            batch = [await self.waiting.get()]
            await asyncio.sleep(self.window_s)
            batch += [self.waiting.get_nowait() for _ in range(self.waiting.qsize())]
            now = asyncio.get_running_loop().time()
            self.counts["wait_seconds_total"] += sum(now - arrived for _, arrived, _ in batch)
            await asyncio.sleep(FIXED_S + EACH_S * len(batch))
            self.counts["batches_total"] += 1
            self.counts["requests_total"] += len(batch)
            for scores, _, answer in batch:
                answer.cancelled() or answer.set_result({"scores": scores})

    async def answer(self, path, body):
        if path == "/predict":
            answer = asyncio.get_running_loop().create_future()
            self.waiting.put_nowait((json.loads(body)["x"], asyncio.get_running_loop().time(), answer))
            return json.dumps(await answer)
        self.counts["queue"] = self.waiting.qsize()
        lines = (f"# TYPE window_{name} {kind}\nwindow_{name} {self.counts[name]}\n" for name, kind in TYPES.items())
        return "".join(lines) if path == "/metrics" else "well"

    async def talk(self, reader, writer):
        while head := (await reader.readline()).split():
            length = 0
            while (line := await reader.readline()).strip():
                name, _, value = line.decode().partition(":")
                length = int(value) if name.lower() == "content-length" else length
            text = await self.answer(head[1].decode(), await reader.readexactly(length))
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        writer.close()


async def serve(port, workers, window_ms):
    server = Server(window_ms / 1e3)
    listening = await asyncio.start_server(server.talk, "127.0.0.1", port)
    print("listening on", port, flush=True)
    await asyncio.gather(*(server.work() for _ in range(workers)), listening.serve_forever())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--window-ms", type=float, default=0)
    given = parser.parse_args()
    if given.workers < 1:
        parser.error(f"--workers must be at least 1, but is {given.workers}")
    asyncio.run(serve(given.port, given.workers, given.window_ms))
