import type { JsonObject } from "../models/schema.js";
import type { SingleFile } from "./file.js";
import { ShapeReader } from "./shapes.js";

/** Channels of a head in every published CLIP text encoder. */
const HEAD_WIDTH = 64;
/** Layers that Stable Diffusion 2 uses of OpenCLIP's ViT-H, all but the last one. */
const LAYERS_OF_SD2 = 23;
const WIDTH_OF_SD2 = 1024;

/** Ids as in all repositories of Stable Diffusion; 2 stands for the highest id, which ends the text. */
const IDS = { bos_token_id: 0, eos_token_id: 2, pad_token_id: 1 };

/** A CLIP text encoder's `config.json`, inferred from the names and shapes of its tensors. */
export function inferTextEncoderConfig(file: SingleFile): JsonObject {
  const read = new ShapeReader(file, "text_encoder");
  return file.family === "sd2" ? openClip(read) : transformers(read);
}

/** The same of SDXL's second text encoder: OpenCLIP's with all layers, and with its projection. */
export function inferProjectedTextEncoderConfig(file: SingleFile): JsonObject {
  const read = new ShapeReader(file, "text_encoder_2");
  return {
    ...openClip(read),
    architectures: ["CLIPTextModelWithProjection"],
    num_hidden_layers: layersOf(read),
    projection_dim: read.size("text_projection", 1),
  };
}

const layersOf = (read: ShapeReader) => read.count(/^transformer\.resblocks\.(\d{1,9})\./);

function transformers(read: ShapeReader): JsonObject {
  const prefix = read.has("text_model.final_layer_norm.weight") ? "text_model." : "";
  const hidden = read.size(`${prefix}embeddings.token_embedding.weight`, 1);
  return {
    ...IDS,
    model_type: "clip_text_model",
    architectures: ["CLIPTextModel"],
    vocab_size: read.size(`${prefix}embeddings.token_embedding.weight`, 0),
    hidden_size: hidden,
    intermediate_size: read.size(`${prefix}encoder.layers.0.mlp.fc1.weight`, 0),
    max_position_embeddings: read.size(`${prefix}embeddings.position_embedding.weight`, 0),
    num_hidden_layers: read.count(
      prefix === "" ? /^encoder\.layers\.(\d{1,9})\./ : /^text_model\.encoder\.layers\.(\d{1,9})\./,
    ),
    num_attention_heads: heads(read, hidden),
    hidden_act: "quick_gelu",
    projection_dim: hidden,
  };
}

function openClip(read: ShapeReader): JsonObject {
  const hidden = read.size("token_embedding.weight", 1);
  const layers = layersOf(read);
  return {
    ...IDS,
    model_type: "clip_text_model",
    architectures: ["CLIPTextModel"],
    vocab_size: read.size("token_embedding.weight", 0),
    hidden_size: hidden,
    intermediate_size: read.size("transformer.resblocks.0.mlp.c_fc.weight", 0),
    max_position_embeddings: read.size("positional_embedding", 0),
    num_hidden_layers: hidden === WIDTH_OF_SD2 ? LAYERS_OF_SD2 : Math.max(1, layers - 1),
    num_attention_heads: heads(read, hidden),
    hidden_act: "gelu",
    projection_dim: 512,
  };
}

function heads(read: ShapeReader, hidden: number): number {
  if (hidden % HEAD_WIDTH !== 0) throw read.problem(`its text encoder is ${hidden} wide`);
  return hidden / HEAD_WIDTH;
}
