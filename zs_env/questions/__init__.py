"""Questions and their data sets: files, data sets of the Hugging Face hub, and subsets."""

from zs_env.questions.files import load_questions_file, load_questions_files
from zs_env.questions.hub import HUB_SETS, HubSet, load_hub_questions
from zs_env.questions.question import questions_by_id

__all__ = [
    "HUB_SETS",
    "HubSet",
    "load_hub_questions",
    "load_questions_file",
    "load_questions_files",
    "questions_by_id",
]
