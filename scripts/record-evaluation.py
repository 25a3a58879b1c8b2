"""Records the metrics of the InstructPix2Pix paper and of MagicBrush on a tiny random CLIP, for
test/evaluation/evaluation.addon.test.ts: with transformers' CLIPModel, torch's interpolation and Pillow.

Usage: python scripts/record-evaluation.py (needs transformers, torch, Pillow; CPU)
"""

import json
import pathlib
import shutil

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

FIXTURES = pathlib.Path(__file__).parent.parent / "test" / "fixtures"
TARGET = FIXTURES / "evaluation"
SIZES = [(40, 56), (28, 28), (33, 20), (64, 64)]
CAPTIONS = [("a red house", "a blue house"), ("a tree by the sea", "a tree by the sea in winter " * 20), ("", "x"), ("night", "day")]
torch.set_num_threads(1)


def clip_model():
    torch.manual_seed(11)
    tokenizer = FIXTURES / "text2img" / "model" / "tokenizer"
    vocabulary = len(json.loads((tokenizer / "vocab.json").read_text()))
    vision = dict(hidden_size=24, intermediate_size=40, num_attention_heads=3, num_hidden_layers=2, image_size=28, patch_size=7)
    text = dict(
        hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2, vocab_size=vocabulary,
        eos_token_id=vocabulary - 1, bos_token_id=vocabulary - 2, pad_token_id=vocabulary - 1,
    )
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=20)).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name and "weight" in name else 0.0, std=0.3)
    folder = TARGET / "clip"
    model.save_pretrained(folder)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(tokenizer / name, folder / name)
    CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
    return CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder), CLIPImageProcessor.from_pretrained(folder)


def pooled(output):
    return output if torch.is_tensor(output) else output.pooler_output


def main():
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir()
    model, tokenizer, processor = clip_model()
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)

    def unit(features):
        return features / features.norm(dim=1, keepdim=True)

    def text(caption):
        ids = tokenizer([caption], padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
        return unit(pooled(model.get_text_features(input_ids=ids)))

    def sampled(image):
        image = F.interpolate(image, size=28, mode="bicubic", align_corners=False)
        return unit(pooled(model.get_image_features(pixel_values=(image - mean) / std)))

    def prepared(image):
        return unit(pooled(model.get_image_features(pixel_values=processor(image, return_tensors="pt").pixel_values)))

    random = np.random.default_rng(5)
    tensors, cases = {}, []
    with torch.no_grad():
        for i, ((height, width), captions) in enumerate(zip(SIZES, CAPTIONS)):
            original, result = (random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2))
            truth = random.integers(0, 256, (height + 5, width - 3, 3), dtype=np.uint8)
            tensors |= {f"{i}.{name}": torch.from_numpy(x) for name, x in dict(original=original, result=result, target=truth).items()}
            case = {}
            texts = [text(caption) for caption in captions]
            for name, values in dict(unit=lambda x: x / 255, as_original=lambda x: 2 * (x / 255) - 1).items():
                images = [sampled(values(torch.from_numpy(x).float().permute(2, 0, 1)[None])) for x in (original, result)]
                case[name] = dict(
                    sim_0=F.cosine_similarity(images[0], texts[0]).item(),
                    sim_1=F.cosine_similarity(images[1], texts[1]).item(),
                    sim_direction=F.cosine_similarity(images[1] - images[0], texts[1] - texts[0]).item(),
                    sim_image=F.cosine_similarity(images[0], images[1]).item(),
                )
            pictures = [Image.fromarray(x) for x in (result, truth)]
            a, b = (torch.from_numpy(np.array(p)).float() / 255 for p in (pictures[0].resize(pictures[1].size), pictures[1]))
            features = [prepared(p) for p in pictures]
            case["magicbrush"] = dict(
                l1=(a - b).abs().mean().item(),
                l2=((a - b) ** 2).mean().item(),
                clip_i=F.cosine_similarity(*features).item(),
                clip_t=F.cosine_similarity(features[0], texts[1]).item(),
                clip_t_target=F.cosine_similarity(features[1], texts[1]).item(),
            )
            cases.append(dict(captions=captions, **case))
    save_file(tensors, TARGET / "images.safetensors")
    versions = dict(transformers=transformers.__version__, torch=torch.__version__)
    (TARGET / "case.json").write_text(json.dumps(dict(cases=cases, **versions), indent=1) + "\n")


if __name__ == "__main__":
    main()
