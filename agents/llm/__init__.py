"""Token-level reinforcement learning of language model policies.

The types between a question and an optimizer step, in order:

1. `Question` (`zs_env.questions`): text and gold answers.
2. `Episode` (`zs_env.episode`): the state of one episode; it knows text, not tokens.
3. `SearchRequest` (`zs_env.search.types`): a query with its question, answers, quality and seed.
4. `SearchPage` (`zs_env.search.types`): the `Document`s that an engine returns.
5. `Transcript` (`zs_env.transcripts`): a finished episode as text, with its reward.
6. `GenerationRequest` (`generators.base`): the ids so far, for the next turn.
7. `Generation` (`generators.base`): one sampled turn.
8. `TokenEpisode` (`rollout.types`): the tokens of an unfinished episode.
9. `Segment` (`rollout.types`): consecutive ids of one source; the source determines the loss mask.
10. `Rollout` (`rollout.types`): a finished episode as segments and transcript.
11. `Group` (`rollout.types`): rollouts of the same question.
12. `Batch` (`learner.batch`): the rollouts of an update as tensors; it is cut into `MicroBatch`es.
13. `Experience` (`learner.experience`): the advantages and old log-probabilities of a batch.

From there on there are only tensors: the loss, and its metrics by name.

`EnvPool` (`agents.env_pool`) plays the episodes, `collect_rollouts` (`rollout.collect`) makes steps
1 to 11, and `Learner.update` (`learner.learner`) makes steps 12 and 13.

Sub-packages, lowest first: `policy` (model, tokenizer, text to ids), `generators` (sampling),
`rollout` (episodes as tokens), `algorithms` and `learner` (updates), `sft`, `trainer` (the loop),
`recipes`. Several of them use `distributed`; `verl` connects the rollouts to another trainer.
"""
