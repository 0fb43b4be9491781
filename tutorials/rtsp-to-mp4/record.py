#!/usr/bin/env python3
"""Records cameras into MP4 files, a new one every few minutes, for as long as it runs.

It talks to the media server as any program in any language can: JSON-RPC over a websocket, without an SDK. Needs
`pip install websockets`; see README.md.
"""
import argparse
import asyncio
import itertools
import json
import signal
import sys
import time

import websockets


class MediaServer:
    """A connection to the media server: requests, and the events it sends."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)
        self.waiting = {}  # requests by number
        self.handlers = {}  # (object, event) -> function
        self.session = None

    async def listen(self):
        """Hands out answers and events until the connection ends."""
        async for text in self.socket:
            message = json.loads(text)
            if message.get("method") == "onEvent":
                event = message["params"]["value"]
                handler = self.handlers.get((event["object"], event["type"]))
                if handler:
                    handler(event["data"])
            elif message.get("id") in self.waiting:
                self.waiting.pop(message["id"]).set_result(message)

    async def call(self, method, **params):
        number = next(self.numbers)
        answer = self.waiting[number] = asyncio.get_running_loop().create_future()
        if self.session:
            params["sessionId"] = self.session
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
        message = await asyncio.wait_for(answer, 20)
        if "error" in message:
            raise RuntimeError(message["error"]["message"])
        result = message.get("result") or {}
        self.session = result.get("sessionId", self.session)
        return result.get("value")

    def create(self, kind, **parameters):
        return self.call("create", type=kind, constructorParams=parameters)

    def invoke(self, target, operation, **parameters):
        return self.call("invoke", object=target, operation=operation, operationParams=parameters)

    async def on(self, target, event, handler):
        self.handlers[target, event] = handler
        await self.call("subscribe", object=target, type=event)


class Camera:
    """One camera and its recorder."""

    def __init__(self, name, uri):
        self.name, self.uri = name, uri
        self.began = None
        self.state = "connecting"
        self.files = self.bytes = self.seconds = self.rate = self.reconnects = 0

    async def record(self, server, pipeline, args):
        self.player = await server.create("PlayerEndpoint", mediaPipeline=pipeline, uri=self.uri, networkCache=args.latency)
        # {name} is the recorder's name; the rest is the time when a file begins, UTC.
        pattern = f"{args.to.rstrip('/')}/{{name}}/{{YYYY}}-{{MM}}-{{DD}}/{{hh}}-{{mm}}-{{ss}}.mp4"
        self.recorder = await server.create(
            "RecorderEndpoint", mediaPipeline=pipeline, uri=pattern, mediaProfile="MP4",
            segmentDuration=args.segment * 1000, retentionSize=args.keep_mb * 1_000_000)
        await server.invoke(self.recorder, "setName", name=self.name)
        await server.on(self.player, "ConnectionLost", self.on_lost)
        await server.on(self.player, "ConnectionRestored", self.on_restored)
        await server.on(self.player, "Error", self.on_error)
        await server.on(self.recorder, "Error", self.on_error)
        await server.on(self.recorder, "Recording", self.on_recording)
        await server.on(self.recorder, "FileRecorded", self.on_file)
        await server.invoke(self.player, "connect", sink=self.recorder)
        await server.invoke(self.recorder, "record")
        await server.invoke(self.player, "play")

    def on_recording(self, _):
        self.began = self.began or time.monotonic()
        self.state = "recording"

    def on_lost(self, _):
        self.state = "lost"

    def on_restored(self, _):
        self.state = "recording"
        self.reconnects += 1

    def on_error(self, event):
        self.state = event["description"]

    def on_file(self, event):
        self.files += 1
        self.bytes += event["size"]
        self.seconds += event["duration"] / 1000
        self.rate = event["size"] * 8 / max(1, event["duration"])

    def line(self):
        passed = int(time.monotonic() - self.began) if self.began else 0
        clock = f"{passed // 3600:02}:{passed // 60 % 60:02}:{passed % 60:02}"
        return (f"{self.name:12} {clock}  {self.files:5} files  {self.bytes / 1e6:9.1f} MB  {self.rate:7.0f} kbit/s  "
                f"{self.reconnects:3} reconnects  {self.state}")


def show(cameras, again):
    """A line a camera: in a terminal always in the same place."""
    if again and sys.stdout.isatty():
        print(f"\033[{len(cameras)}A", end="")
    end = "\033[K\n" if sys.stdout.isatty() else "\n"
    print(end.join(camera.line() for camera in cameras), end=end, flush=True)


async def run(args, ended):
    cameras = [Camera(*camera.split("=", 1)) for camera in args.cameras]
    async with websockets.connect(args.kms) as socket:
        server = MediaServer(socket)
        listening = asyncio.create_task(server.listen())
        pipeline = await server.create("MediaPipeline")
        for camera in cameras:
            await camera.record(server, pipeline, args)
        again = False
        while not ended.is_set() and not listening.done():
            show(cameras, again)
            again = sys.stdout.isatty()
            try:
                await asyncio.wait_for(ended.wait(), 1 if again else 10)
            except asyncio.TimeoutError:
                await server.call("ping", interval=240_000)  # keeps the session
        if listening.done():
            sys.exit("The media server has ended the connection.")
        # The files are closed before this is answered.
        await asyncio.gather(*(server.invoke(camera.recorder, "stopAndWait") for camera in cameras))
        await server.call("release", object=pipeline)
        show(cameras, again)
        listening.cancel()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cameras", nargs="+", metavar="NAME=URI", help="such as door=rtsp://user:password@10.0.0.9/stream")
    parser.add_argument("--to", default="file:///tmp/recordings",
                        help="folder of the media server's machine, or s3://bucket/folder (default: %(default)s)")
    parser.add_argument("--segment", type=int, default=300, metavar="S", help="seconds of a file (default: %(default)s)")
    parser.add_argument("--keep-mb", type=int, default=0, metavar="MB",
                        help="remove the oldest files of a camera when there are more; 0: never (default: %(default)s)")
    parser.add_argument("--latency", type=int, default=200, metavar="MS", help="how late packets may come (default: %(default)s)")
    parser.add_argument("--kms", default="ws://127.0.0.1:8888/kurento", metavar="URL", help="(default: %(default)s)")
    args = parser.parse_args()
    if not all("=" in camera for camera in args.cameras):
        parser.error("a camera is NAME=URI")
    return args


async def main():
    args = parse_arguments()
    ended = asyncio.Event()
    for number in signal.SIGINT, signal.SIGTERM:
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        await run(args, ended)
    except (OSError, RuntimeError, websockets.WebSocketException) as error:
        sys.exit(f"record.py: {error}")


if __name__ == "__main__":
    asyncio.run(main())
