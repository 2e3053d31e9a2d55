"""Sequence classifiers: P(correct) of texts, by a verifier folder that lies beside the models.

<state_dir>/verifiers/<id>/manifest.json   written last; kind `verifier`
<state_dir>/verifiers/<id>/hf/             the checkpoint and its tokenizer, for the transformers backend
<state_dir>/verifiers/<id>/ct2-<dtype>/    encoder, head and tokenizer, served without torch
<state_dir>/verifiers/<id>/features.json   a model of execution features (reranker)
"""
