"""The families of models that can be trained."""

from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.image_text_model import ImageTextModel

TrainableModel = ImageTextModel | VisionLanguageModel
