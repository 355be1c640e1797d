"""The forms of the answers, which OpenAPI describes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PredictParameters(BaseModel):
    """The parameters of a request for predictions."""

    model_config = ConfigDict(extra="forbid")

    top: int = Field(default=5, ge=1, description="Classes to give for each picture.")
    explain: bool = Field(
        default=False, description="Add a JPEG of each picture with a map of what speaks for its class."
    )


class ClassProbability(BaseModel):
    """A class and its probability."""

    name: str = Field(serialization_alias="class")
    probability: float


class PicturePrediction(BaseModel):
    """What the model sees in one picture: classes, or an error."""

    file: str = Field(description="The name that was sent.")
    classes: list[ClassProbability] | None = Field(default=None, description="The most probable first.")
    labels: list[str] | None = Field(
        default=None, description="The classes that reach their thresholds, where a picture may show several."
    )
    explanation: str | None = Field(default=None, description="A data URL.")
    error: str | None = Field(default=None, description="Why the picture cannot be read.")


class PredictAnswer(BaseModel):
    """The answer to a request: a prediction for each picture, in their order."""

    predictions: list[PicturePrediction]


class Health(BaseModel):
    """That the model answers, and what it is."""

    status: str
    model: str
    classes: int
    explains: bool = Field(description="Whether explain is possible.")


class Labels(BaseModel):
    """The classes, in the order of the model's outputs."""

    labels: list[str]


class Problem(BaseModel):
    """Why a request was refused, in one line."""

    detail: str
