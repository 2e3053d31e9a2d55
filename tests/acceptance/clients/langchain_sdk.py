"""What people do with LangChain, as one JSON object: `python langchain_sdk.py URL`. In an environment of its own."""

import json
import sys

from langchain_openai import ChatOpenAI, OpenAI

URL = f"{sys.argv[1]}/v1"
RERANK = {"rerank": {"method": "likelihood", "num_candidates": 4}}


def main() -> None:
    """Ask, and print what came."""
    chat = ChatOpenAI(
        base_url=URL, api_key="none", model="scripted", extra_body=RERANK, include_response_headers=True, max_retries=0
    )
    reply = chat.invoke("hello")
    metadata = reply.response_metadata
    headers = {name.lower(): value for name, value in metadata["headers"].items()}
    streamed = list(ChatOpenAI(base_url=URL, api_key="none", model="scripted", stream_usage=True).stream("hello"))
    completed = OpenAI(base_url=URL, api_key="none", model="scripted", extra_body=RERANK, max_retries=0)
    said = {
        "text": reply.content,
        "fingerprint": metadata["system_fingerprint"],
        "model": metadata["model_name"],
        "id": metadata["id"],
        "status": headers["x-rerank-status"],
        "score": headers["x-rerank-score"],
        "details": metadata["token_usage"]["completion_tokens_details"],
        "stream": "".join(str(chunk.content) for chunk in streamed),
        "completion": completed.invoke("hello"),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
