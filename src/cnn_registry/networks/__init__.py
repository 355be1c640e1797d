"""From a spec to a built network, and what can be done with one: cut it, fold it, freeze it, speed it up, fill it."""
