"""Plays /var/lib/kms/film.webm and records it, with nothing but a websocket."""
import asyncio
import json
import sys

import websockets


async def main():
    async with websockets.connect(sys.argv[1]) as socket:
        number = 0
        events = []

        async def ask(method, **params):
            nonlocal number
            number += 1
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
            while True:
                message = json.loads(await asyncio.wait_for(socket.recv(), 20))
                if message.get("id") == number:
                    if "error" in message:
                        sys.exit(f"{method}: {message['error']}")
                    return message["result"].get("value")
                events.append(message)

        async def create(kind, **params):
            return await ask("create", type=kind, constructorParams=params)

        async def invoke(element, operation, **params):
            return await ask("invoke", object=element, operation=operation, operationParams=params)

        pipeline = await create("MediaPipeline")
        player = await create("PlayerEndpoint", mediaPipeline=pipeline, uri="file:///var/lib/kms/film.webm")
        recorder = await create("RecorderEndpoint", mediaPipeline=pipeline, uri="file:///var/lib/kms/recorded.webm")
        await ask("subscribe", object=player, type="EndOfStream")
        await invoke(player, "connect", sink=recorder)
        await invoke(recorder, "record")
        await invoke(player, "play")
        while not any(event.get("method") == "onEvent" for event in events):
            events.append(json.loads(await asyncio.wait_for(socket.recv(), 20)))
        await invoke(recorder, "stopAndWait")
        await ask("release", object=pipeline)


asyncio.run(main())
