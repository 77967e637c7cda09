"""llama.cpp's library, in this process, one sequence at a time."""

import ctypes
import time

import llama_cpp
import numpy

# llama.cpp's own default for one computed batch.
BATCH_TOKENS = 512


class Library:
    def __init__(self, path: str, threads: int):
        self.path, self.threads = path, threads
        self.model = None
        self.context = None
        # ctypes keeps no reference to what C calls back.
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, ctypes.c_void_p(0))

    def decode(self, prompt: list[int], tokens: int) -> dict:
        """Greedy tokens per second after the first."""
        self._open()
        self._run(prompt, 0)
        token, answer = self._likeliest(), []
        begun = time.perf_counter()
        for position in range(len(prompt), len(prompt) + tokens - 1):
            answer.append(token)
            self._run([token], position)
            token = self._likeliest()
        seconds = time.perf_counter() - begun
        return {"rate": (tokens - 1) / seconds, "tokens": [*answer, token]}

    def prefill(self, prompt: list[int]) -> dict:
        """Prompt tokens per second up to the first token."""
        self._open()
        begun = time.perf_counter()
        self._run(prompt, 0)
        self._likeliest()
        return {"rate": len(prompt) / (time.perf_counter() - begun)}

    def logits(self, prompt: list[int]) -> dict:
        """The log probabilities of every next token after a prompt."""
        self._open()
        self._run(prompt, 0)
        logits = self._logits().astype(numpy.float64)
        top = logits.max()
        total = top + numpy.log(numpy.exp(logits - top).sum())
        return {"logprobs": (logits - total).tolist()}

    def _open(self) -> None:
        """Loads the model when it is first needed; forgets what it has read."""
        if self.context is None:
            llama_cpp.llama_backend_init()
            params = llama_cpp.llama_model_default_params()
            self.model = llama_cpp.llama_model_load_from_file(self.path.encode(), params)
            if not self.model:
                raise RuntimeError(f"llama.cpp cannot load {self.path}")
            params = llama_cpp.llama_context_default_params()
            params.n_ctx = 4096
            params.n_batch = params.n_ubatch = BATCH_TOKENS
            params.n_threads = params.n_threads_batch = self.threads
            self.context = llama_cpp.llama_init_from_model(self.model, params)
            vocab = llama_cpp.llama_model_get_vocab(self.model)
            self.vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def _run(self, tokens: list[int], position: int) -> None:
        for first in range(0, len(tokens), BATCH_TOKENS):
            chunk = tokens[first : first + BATCH_TOKENS]
            array = (llama_cpp.llama_token * len(chunk))(*chunk)
            batch = llama_cpp.llama_batch_get_one(array, len(chunk))
            status = llama_cpp.llama_decode(self.context, batch)
            if status != 0:
                raise RuntimeError(f"llama_decode: {status} at {position + first}")

    def _logits(self) -> numpy.ndarray:
        pointer = llama_cpp.llama_get_logits_ith(self.context, -1)
        return numpy.ctypeslib.as_array(pointer, shape=(self.vocab,))

    def _likeliest(self) -> int:
        return int(self._logits().argmax())
