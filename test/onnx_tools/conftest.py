"""What these tests share: small models and pictures, each made once."""

from models.model_fixtures import (  # noqa: F401
    divided_shapes, few_threads, resnet18, resnet18_fp16)
