#!/usr/bin/env python3
"""Writes reference_logits.json: logits of the tiny random models of kinds.rs, reckoned here in
float64 from the published definitions of llama, qwen2 and qwen3, sharing no code with the engine.

Run it where numpy is: python3 reference_logits.py > reference_logits.json
"""
import json
import numpy as np

DIM, FFN, HEADS, KV_HEADS, HEAD_DIM, LAYERS, VOCAB = 256, 512, 4, 2, 64, 2, 288
PROMPT = [1, 270, 17, 101, 44, 280, 5, 199, 3]
EPS, THETA = float(np.float32(1e-6)), 10000.0
MASK = (1 << 64) - 1


def noise(seed, count):
    state = ((seed * 0x9E3779B97F4A7C15) & MASK) | 1
    out = np.empty(count, dtype=np.float32)
    for i in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        out[i] = (state >> 40) / float(1 << 23) - 1.0
    return out


class Weights:
    """Hands out tensors in the order in which kinds.rs makes them."""

    def __init__(self):
        self.seed = 0

    def take(self, *dims, center=0.0):
        self.seed += 1
        scale = np.float32(1.7) / np.sqrt(np.float32(dims[-1]))
        numbers = noise(self.seed, int(np.prod(dims)))
        return (np.float32(center) + numbers * scale).astype(np.float64).reshape(dims)


def norm(x, w):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPS) * w


def turn(x, neighbours):
    """x: [tokens, heads, dim]; pairs (2i, 2i+1) or (i, i + dim/2) turn by position · theta^(-2i/dim)."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[0])[:, None] * THETA ** (-np.arange(half) / half)[None, :]
    cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    out = np.empty_like(x)
    a, b = (slice(0, None, 2), slice(1, None, 2)) if neighbours else (slice(0, half), slice(half, None))
    out[..., a] = x[..., a] * cos - x[..., b] * sin
    out[..., b] = x[..., a] * sin + x[..., b] * cos
    return out


def attention(q, k, v):
    tokens, group = q.shape[0], HEADS // KV_HEADS
    out = np.empty_like(q)
    future = np.triu(np.full((tokens, tokens), -np.inf), 1)
    for head in range(HEADS):
        scores = q[:, head] @ k[:, head // group].T / np.sqrt(HEAD_DIM) + future
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[:, head] = weights / weights.sum(axis=-1, keepdims=True) @ v[:, head // group]
    return out.reshape(tokens, -1)


def logits(architecture):
    weights = Weights()
    table = weights.take(VOCAB, DIM)
    x = table[PROMPT]
    for _ in range(LAYERS):
        attention_norm = weights.take(DIM, center=1.0)
        h = norm(x, attention_norm)
        projected = []
        for rows in (HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM):
            y = h @ weights.take(rows, DIM).T
            if architecture == "qwen2":
                y = y + weights.take(rows)
            projected.append(y.reshape(len(PROMPT), -1, HEAD_DIM))
        q, k, v = projected
        if architecture == "qwen3":
            q = norm(q, weights.take(HEAD_DIM, center=1.0))
            k = norm(k, weights.take(HEAD_DIM, center=1.0))
        neighbours = architecture == "llama"
        attended = attention(turn(q, neighbours), turn(k, neighbours), v)
        x = x + attended @ weights.take(DIM, HEADS * HEAD_DIM).T
        h = norm(x, weights.take(DIM, center=1.0))
        gate, up = h @ weights.take(FFN, DIM).T, h @ weights.take(FFN, DIM).T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weights.take(DIM, FFN).T
    x = norm(x, weights.take(DIM, center=1.0))
    output = weights.take(VOCAB, DIM) if architecture == "llama" else table
    return [round(value, 6) for value in (x[-1] @ output.T)]


print(json.dumps({name: logits(name) for name in ("llama", "qwen2", "qwen3")}))
