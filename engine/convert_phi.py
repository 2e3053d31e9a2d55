"""A CTranslate2 loader for Phi-1 to Phi-2 in the layout transformers itself uses.

CTranslate2's own `PhiConfig` loader reads the layout of the custom code these models were first published with.
"""

from __future__ import annotations

from typing import Any


def register() -> None:
    """Put the loader in the place of CTranslate2's own. Needs torch and transformers."""
    from ctranslate2.converters import transformers as loaders
    from ctranslate2.converters import utils
    from ctranslate2.specs import common_spec, transformer_spec

    class NativePhiLoader(loaders.PhiLoader):  # type: ignore[misc]
        architecture_name = "PhiForCausalLM"

        def get_model_spec(self, model: Any) -> Any:
            config = model.config
            rope = config.rope_parameters
            head_dim = config.hidden_size // config.num_attention_heads
            kv_heads = config.num_key_value_heads
            spec = transformer_spec.TransformerDecoderModelSpec.from_config(
                num_layers=config.num_hidden_layers,
                num_heads=config.num_attention_heads,
                num_heads_kv=kv_heads if kv_heads != config.num_attention_heads else None,
                pre_norm=True,
                activation=loaders._SUPPORTED_ACTIVATIONS[config.hidden_act],
                rotary_dim=int(head_dim * rope["partial_rotary_factor"]),
                rotary_interleave=False,
                rotary_base=rope["rope_theta"],
                parallel_residual=True,
                shared_layer_norm=True,
            )
            self.set_decoder(spec.decoder, model.model)
            self.set_linear(spec.decoder.projection, model.lm_head)
            return spec

        def set_config(self, config: Any, model: Any, tokenizer: Any) -> None:
            super().set_config(config, model, tokenizer)
            config.layer_norm_epsilon = model.config.layer_norm_eps

        def set_decoder(self, spec: Any, module: Any) -> None:
            spec.scale_embeddings = False
            self.set_embeddings(spec.embeddings, module.embed_tokens)
            self.set_layer_norm(spec.layer_norm, module.final_layernorm)
            for layer_spec, layer in zip(spec.layer, module.layers, strict=True):
                self.set_layer_norm(layer_spec.shared_layer_norm, layer.input_layernorm)
                attention = layer.self_attn
                split = [common_spec.LinearSpec() for _ in range(3)]
                for part, projection in zip(split, (attention.q_proj, attention.k_proj, attention.v_proj), strict=True):
                    self.set_linear(part, projection)
                utils.fuse_linear(layer_spec.self_attention.linear[0], split)
                self.set_linear(layer_spec.self_attention.linear[1], attention.dense)
                self.set_linear(layer_spec.ffn.linear_0, layer.mlp.fc1)
                self.set_linear(layer_spec.ffn.linear_1, layer.mlp.fc2)

    loaders._MODEL_LOADERS["PhiConfig"] = NativePhiLoader()
