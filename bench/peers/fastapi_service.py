"""What bench/gateway_bench.py measures a gateway beside: the same POST /submit_text by FastAPI.

KAFKA and TOPIC set: into that topic, acks=all and idempotent, answered when the record is durable. Else it counts the words by
itself in a dict, without Kafka, Redis or another process, and GET /api/v1/jobs/JOB/counts/WORD tells them."""

import asyncio
import collections
import contextlib
import os
import threading

import confluent_kafka
from fastapi import FastAPI
from pydantic import BaseModel

BROKERS, TOPIC = os.environ.get("KAFKA"), os.environ.get("TOPIC")


class Submission(BaseModel):
    text: str
    user_id: str | None = None


class Producer:
    """librdkafka's; its delivery reports come by a thread that wakes the loop."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": BROKERS, "acks": "all", "enable.idempotence": True, "linger.ms": 1,
            "partitioner": "murmur2_random", "queue.buffering.max.messages": 1_000_000})
        self.over = False
        self.thread = threading.Thread(target=self._poll, daemon=True)
        self.thread.start()

    def _poll(self):
        while not self.over:
            self.producer.poll(0.1)

    async def send(self, key, value):
        future = self.loop.create_future()

        def delivered(error, message):
            place = error or (message.partition(), message.offset())
            self.loop.call_soon_threadsafe(future.set_result, place)

        self.producer.produce(TOPIC, value=value, key=key, on_delivery=delivered)
        place = await future
        if not isinstance(place, tuple):
            raise RuntimeError(str(place))
        return place

    def close(self):
        self.producer.flush(10)
        self.over = True
        self.thread.join()


@contextlib.asynccontextmanager
async def lifespan(app):
    app.state.producer = Producer() if BROKERS else None
    yield
    if app.state.producer:
        app.state.producer.close()


app = FastAPI(lifespan=lifespan)
counts = collections.Counter()


@app.get("/ready")
async def ready():
    return {"status": "ok"}


if BROKERS:

    @app.post("/submit_text")
    async def submit_text(submission: Submission):
        partition, offset = await app.state.producer.send(submission.user_id, submission.text)
        return {"log": TOPIC, "partition": partition, "offset": offset}

else:

    @app.post("/submit_text")
    async def submit_text(submission: Submission):
        counts.update(submission.text.split())
        return {"words": len(counts)}

    @app.get("/api/v1/jobs/{job}/counts/{word}")
    async def count(job: str, word: str):
        return {"word": word, "count": counts.get(word)}
