"""An HTTP service for one exported network: a picture in, label, confidence and reason out.

    pip install ".[serve]"                                             # in a clone
    lenet-zoo export lenet5_modern -o digits.onnx --input pixels
    python examples/serve.py digits.onnx                               # http://127.0.0.1:8000, its pages in /docs
    curl -F picture=@photo.jpg http://127.0.0.1:8000/predict

Without torch. Requests run in threads, which share the one network; more of them at once than --requests are answered
with 503, a larger body than --bytes and a larger picture than --pixels with 413, and a picture that cannot be read with
422 and one line. After SIGTERM or Ctrl-C, requests that have begun are still answered, for ten seconds at most.
"""

import argparse
import base64
import io
from typing import IO, Annotated, Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from lenet_zoo import OnnxClassifier
from lenet_zoo.classify import Prediction
from lenet_zoo.errors import InputError, LenetZooError
from lenet_zoo.pictures.reading import picture_size


class Picture(BaseModel):
    """A picture as JSON: a file's bytes in base64, or prepared pixels, 28×28, 0 background and 255 ink."""

    picture: str | None = None
    pixels: list[list[Annotated[int, Field(ge=0, le=255)]]] | None = None


class LimitedBody:
    """ASGI middleware: stop reading a request's body when it is larger than allowed, whatever its headers say."""

    def __init__(self, app: Any, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        seen = 0

        async def counted() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise HTTPException(413, f"the request has more than {self.most:,} bytes: scale the picture down")
            return message

        await self.app(scope, counted, send)


def service(classifier: OnnxClassifier, most_bytes: int = 8_000_000, most_pixels: int = 16_000_000) -> FastAPI:
    """The application, for uvicorn or any other ASGI server. Limits: bytes of a request's body, pixels of a picture."""
    app = FastAPI(title="lenet_zoo", description=f"Reads {', '.join(classifier.labels)}.")
    app.add_middleware(LimitedBody, most=most_bytes)

    @app.exception_handler(InputError)
    async def unreadable(request: Request, error: InputError) -> JSONResponse:
        return JSONResponse({"detail": " ".join(str(error).split())}, 422)

    @app.exception_handler(RequestValidationError)
    async def incomplete(request: Request, error: RequestValidationError) -> JSONResponse:
        first, *more = error.errors()
        where = ".".join(map(str, first["loc"]))
        return JSONResponse({"detail": f"{where}: {first['msg']}" + (f", and {len(more)} more" if more else "")}, 422)

    def answer(picture: IO[bytes], top_k: int, min_confidence: float) -> Prediction:
        width, height = picture_size(picture)  # some kilobytes can be many millions of pixels, which take seconds
        if width * height > most_pixels:
            raise HTTPException(413, f"the picture has more than {most_pixels:,} pixels: scale it down")
        return classifier.predict(picture, top_k, min_confidence)[0]

    # Not `async`: FastAPI then calls them in threads, and a large photo does not hold up the others.
    @app.post("/predict")
    def predict(picture: UploadFile, top_k: int = 1, min_confidence: float = 0.0) -> Prediction:
        """An uploaded file (multipart/form-data, field `picture`)."""
        return answer(picture.file, top_k, min_confidence)

    @app.post("/predict/json")
    def predict_json(body: Picture, top_k: int = 1, min_confidence: float = 0.0) -> Prediction:
        """A picture within JSON: `picture` in base64, or `pixels`."""
        if (body.picture is None) == (body.pixels is None):
            raise InputError("give either picture or pixels")
        if body.picture is not None:
            try:
                picture = base64.b64decode(body.picture, validate=True)
            except ValueError:
                raise InputError("picture is not base64") from None
            return answer(io.BytesIO(picture), top_k, min_confidence)
        if len({len(row) for row in body.pixels or []}) != 1:
            raise InputError("pixels are rows of one length")
        return classifier.predict(np.array([body.pixels], np.uint8), top_k, min_confidence)[0]

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Whether the service can answer, and by which network."""
        return {"status": "ok", "model": classifier.metadata["model"], "labels": classifier.labels}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an .onnx file that lenet-zoo exported")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for all of this machine's addresses")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--bytes", type=int, default=8_000_000, help="of a request at most")
    parser.add_argument("--pixels", type=int, default=16_000_000, help="of a picture at most, 9 bytes of memory each")
    parser.add_argument("--requests", type=int, default=32, help="at once; more are answered with 503")
    options = parser.parse_args()
    try:
        classifier = OnnxClassifier(options.model, threads=1)
    except (LenetZooError, OSError) as error:
        parser.error(str(error))
    uvicorn.run(
        service(classifier, options.bytes, options.pixels),
        host=options.host,
        port=options.port,
        limit_concurrency=options.requests,
        timeout_graceful_shutdown=10,
    )
