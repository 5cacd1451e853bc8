"""A model that plays three turns of every episode, for servers of chat completions."""

from aiohttp import web

from zs_env.config import make_env

# No server listens on this port.
BROKEN = {"kind": "http", "url": "http://127.0.0.1:9/retrieve", "max_tries": 1}
TURNS = ["I know nothing.", "<search>the mayor</search> and more", "<answer>nobody</answer>"]
ENVIRONMENT = {"id": "ZeroSearch-v0", "max_turns": 3, "num_documents": 2}


def completion(text):
    return web.json_response(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
        }
    )


async def next_turn(body):
    """The first question is answered correctly in its last turn, the others wrongly."""
    number = sum(message["role"] == "assistant" for message in body["messages"])
    text = TURNS[number]
    if number == 2 and _question(0).text in body["messages"][0]["content"]:
        text = f"<answer>{_question(0).answers[0]}</answer>"
    return completion(text)


def _question(index):
    return make_env(**environment_settings(ENVIRONMENT)).questions[index]


def environment_settings(environment):
    return {key: value for key, value in environment.items() if key != "id"}
