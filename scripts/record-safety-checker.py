"""Records diffusers' safety checker for test/parity/safety-checker.addon.test.ts: with random weights alone, and behind the
pipelines that have one, with the models of other fixtures.

A random checker finds nothing in particular, so its concepts are made of what the recorded images have: some find one image
each, and some find theirs only with what a special concept adds.

Usage: python scripts/record-safety-checker.py (needs diffusers, transformers, torch; CPU)
"""

import json
import pathlib

import diffusers
import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker, cosine_distance
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor

FIXTURES = pathlib.Path(__file__).parent.parent / "test" / "fixtures"
TARGET = FIXTURES / "safety-checker"
TARGET.mkdir(exist_ok=True)
torch.set_num_threads(1)
PROMPT = "a fantasy landscape"
IMAGE = "image0.png"
# The last one of each is found by a concept; the seeds differ so that the pipelines' images do.
RUNS = [
    ("StableDiffusionPipeline", "text2img", dict(height=32, width=40)),
    ("StableDiffusionImg2ImgPipeline", "img2img", dict(image=IMAGE, strength=0.8)),
    ("StableDiffusionInpaintPipeline", "inpaint", dict(image=IMAGE, mask_image="mask0.png", height=32, width=32)),
    ("StableDiffusionInpaintPipeline", "inpaint", dict(image=IMAGE, mask_image="mask0.png", height=32, width=32, padding_mask_crop=4)),
    ("StableDiffusionInstructPix2PixPipeline", "ip2p-tiny", dict(image="image.png")),
    ("StableDiffusionControlNetPipeline", "controlnet", dict(image="control0.png")),
    ("StableDiffusionControlNetImg2ImgPipeline", "controlnet", dict(image=IMAGE, control_image="control0.png")),
]
ALONE = 8


def call(index, checker, processor, output_type):
    name, model, arguments = RUNS[index]
    folder = FIXTURES / model
    parts = {}
    if "ControlNet" in name:
        parts["controlnet"] = diffusers.ControlNetModel.from_pretrained(folder / "model" / "controlnet")
    pipe = getattr(diffusers, name).from_pretrained(
        folder / "model", safety_checker=checker, feature_extractor=processor, **parts
    )
    pipe.set_progress_bar_config(disable=True)
    given = {k: Image.open(folder / v).convert("L" if k == "mask_image" else "RGB") if str(v).endswith(".png") else v for k, v in arguments.items()}
    generator = torch.Generator().manual_seed(100 + index)
    return pipe(prompt=PROMPT, num_inference_steps=3, num_images_per_prompt=3, generator=generator, output_type=output_type, **given)


def pixels(image):
    return torch.from_numpy(np.array(image))


def main():
    torch.manual_seed(3)
    width = 32
    vision = dict(hidden_size=16, intermediate_size=24, num_attention_heads=2, num_hidden_layers=2, image_size=28, patch_size=7, projection_dim=width)
    text = dict(hidden_size=8, intermediate_size=8, num_attention_heads=2, num_hidden_layers=1, vocab_size=49408, max_position_embeddings=4)
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, text_config=text, projection_dim=width)).eval()
    for name, parameter in checker.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name and "weight" in name else 0.0, std=0.4)
    torch.nn.init.normal_(checker.vision_model.embeddings.class_embedding, std=0.05)
    processor = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})

    random = np.random.default_rng(0)
    low = [random.integers(0, 256, (5, 7, 3), dtype=np.uint8) for _ in range(ALONE)]
    alone = [Image.fromarray(image).resize((70, 50), Image.BICUBIC) for image in low]
    # Without a checker the images show what it will be given.
    groups = [alone]
    for index, (name, _, arguments) in enumerate(RUNS):
        crop = arguments.pop("padding_mask_crop", None)
        groups.append([] if crop is not None else call(index, None, None, "pil").images)
        if crop is not None:
            arguments["padding_mask_crop"] = crop
            seen = []
            spy = lambda images, clip_input: (seen.append(clip_input), (images, [False] * len(images)))[1]
            pipe_images = call_with(spy, index, processor)
            groups[-1] = seen[0]
    inputs = torch.cat([g if torch.is_tensor(g) else processor(list(g), return_tensors="pt").pixel_values for g in groups])
    owner = [i for i, g in enumerate(groups) for _ in range(len(g))]
    with torch.no_grad():
        embeds = checker.visual_projection(checker.vision_model(inputs)[1])
    unit = torch.nn.functional.normalize(embeds)

    def finder(target):
        """A direction nearest to one image, the middle between it and the next one, and half their distance."""
        others = torch.cat([unit[:target], unit[target + 1 :]])
        direction = unit[target].clone()
        for _ in range(400):
            cos = others @ (direction / direction.norm())
            direction = direction + 0.05 * (unit[target] - others[cos.argmax()])
            direction = direction / direction.norm()
        distances = cosine_distance(unit, direction[None])[:, 0]
        best, rest = distances[target].item(), distances[[i for i in range(len(unit)) if i != target]].max().item()
        return direction, best, rest

    targets = [max((i for i, o in enumerate(owner) if o == g), key=lambda i: finder(i)[1] - finder(i)[2]) for g in range(1, len(groups))]
    alone_found, alone_special, alone_care = 1, 4, 6
    with torch.no_grad():
        checker.concept_embeds_weights.fill_(0.999)
        checker.special_care_embeds_weights.fill_(0.999)
        for concept, target in enumerate([*targets, alone_found]):
            direction, best, rest = finder(target)
            print("concept", concept, "image", target, "margin", best - rest)
            assert best - rest > 0.008
            checker.concept_embeds[concept] = 3 * direction
            checker.concept_embeds_weights[concept] = (best + rest) / 2
        # Two special concepts find an image each; one of these is then near enough to a concept, and one is not.
        for special, target in [(0, alone_special), (2, alone_care)]:
            direction, best, rest = finder(target)
            assert best - rest > 0.008
            checker.special_care_embeds[special] = 0.5 * direction
            checker.special_care_embeds_weights[special] = (best + rest) / 2
            concept = 12 + special
            checker.concept_embeds[concept] = direction
            checker.concept_embeds_weights[concept] = best + (0.006 if special == 0 else 0.02)

    published = {("vision_model." + k if k.startswith("vision_model.") else k): v.contiguous() for k, v in checker.state_dict().items()}
    (TARGET / "safety_checker").mkdir(exist_ok=True)
    save_file(published, TARGET / "safety_checker" / "model.safetensors", metadata={"format": "pt"})
    checker.config.architectures = ["StableDiffusionSafetyChecker"]
    checker.config.save_pretrained(TARGET / "safety_checker")
    processor.save_pretrained(TARGET / "feature_extractor")
    checker = StableDiffusionSafetyChecker.from_pretrained(TARGET / "safety_checker")

    tensors, case = {}, dict(runs=[])
    clip_input = processor(alone, return_tensors="pt").pixel_values
    with torch.no_grad():
        scores = cosine_distance(checker.visual_projection(checker.vision_model(clip_input)[1]), checker.concept_embeds)
    images, found = checker(images=torch.ones(ALONE, 3, 2, 2), clip_input=clip_input)
    assert found == [i in (alone_found, alone_special) for i in range(ALONE)], found
    case["alone"] = dict(found=found)
    tensors["alone.images"] = torch.stack([pixels(image) for image in alone])
    tensors["alone.input"] = clip_input
    tensors["alone.cosines"] = scores.float().contiguous()
    half = StableDiffusionSafetyChecker.from_pretrained(TARGET / "safety_checker", torch_dtype=torch.bfloat16)
    case["alone"]["found_bfloat16"] = half(images=torch.ones(ALONE, 3, 2, 2), clip_input=clip_input.to(torch.bfloat16))[1]
    for index, (name, model, arguments) in enumerate(RUNS):
        result = call(index, checker, processor, "pil")
        assert sum(result.nsfw_content_detected) == 1, result.nsfw_content_detected
        tensors[f"run{index}.images"] = torch.stack([pixels(image) for image in result.images])
        case["runs"].append(dict(pipeline=name, fixture=model, seed=100 + index, nsfw=result.nsfw_content_detected, args=arguments))
    tensors["tensor"] = call(0, checker, processor, "pt").images.contiguous()
    save_file(tensors, TARGET / "expected.safetensors")
    versions = dict(diffusers=diffusers.__version__, torch=torch.__version__)
    (TARGET / "case.json").write_text(json.dumps({**case, **versions}, indent=1) + "\n")


def call_with(spy, index, processor):
    """The images that a checker sees of a pipeline that puts its results back into others."""
    name, model, arguments = RUNS[index]
    folder = FIXTURES / model
    pipe = getattr(diffusers, name).from_pretrained(folder / "model", safety_checker=None, feature_extractor=processor)
    pipe.safety_checker = spy
    pipe.set_progress_bar_config(disable=True)
    given = {k: Image.open(folder / v).convert("L" if k == "mask_image" else "RGB") if str(v).endswith(".png") else v for k, v in arguments.items()}
    generator = torch.Generator().manual_seed(100 + index)
    return pipe(prompt=PROMPT, num_inference_steps=3, num_images_per_prompt=3, generator=generator, output_type="pil", **given)


if __name__ == "__main__":
    main()
