"""A custom search engine and custom questions.

Prints the documents of a search and the reward. An engine receives a batch of requests and returns
one page per request. Takes a second.
"""

from zs_env import Document, Question, SearchEngine, SearchPage, ZeroSearchEnv

NOTES = ["Mount Etna stands on Sicily.", "Mount Fuji stands on Honshu.", "Tea grows in Assam."]


class Notebook(SearchEngine):
    in_process = True  # no network, so no timeout

    def search(self, requests):
        return [
            SearchPage(Document(text=note) for note in NOTES if self.fits(note, request.query))
            for request in requests
        ]

    def fits(self, note, query):
        return bool(set(note.lower().strip(".").split()) & set(query.lower().split()))


questions = [Question(id="1", text="Where does Mount Etna stand?", answers=("Sicily",))]
env = ZeroSearchEnv(questions, Notebook(), num_documents=3)
env.reset(seed=0)
observation, *_ = env.step("<search>etna</search>")
print(observation["message"].strip())
_, reward, *_ = env.step("<answer>on Sicily</answer>")
print(f"Reward {reward:.2f}")  # one of two words is right: F1 is 2/3
