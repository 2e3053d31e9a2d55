"""N samples of one prompt on a CPU: our engines beside llama.cpp and vLLM, on one model of random weights."""
