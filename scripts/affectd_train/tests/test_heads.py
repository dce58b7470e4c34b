"""One last layer from two: its answers between the two truths."""

from __future__ import annotations

import unittest
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch

from affectd_train import heads, networks
from affectd_train.networks import N_CLASSES


class OneHead(unittest.TestCase):
    def setUp(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.x = torch.randn(3000, 24, generator=generator)
        weight = torch.randn(2 * N_CLASSES, 24, generator=generator)
        logits = self.x @ weight.T
        self.label = torch.multinomial(logits[:, :N_CLASSES].softmax(1), 1, generator=generator)[:, 0].numpy()
        votes = logits[:, N_CLASSES:].softmax(1)
        # Where voters do not agree there is no majority.
        self.majority = torch.where(votes.amax(1) > 0.6, votes.argmax(1), -1).numpy()
        net = SimpleNamespace(dense=SimpleNamespace(
            folded=lambda: (weight[:, :, None, None], torch.zeros(2 * N_CLASSES))))
        prepared = SimpleNamespace(train_images=np.zeros(1), hold_images=np.zeros(1),
                                   train_majority=self.majority, hold_label=self.label,
                                   hold_ferplus=self.majority)
        with mock.patch.object(heads, "features", lambda net, tiles: self.x):
            self.heads = heads.Heads(net, prepared)

    def answers(self, *args: float) -> np.ndarray:
        return heads.logits(self.x, self.heads.one(*args)).argmax(dim=1).numpy()

    def right(self, ferplus_weight: float) -> tuple[float, float]:
        answer = self.answers(ferplus_weight)
        voted = self.majority >= 0
        return float((answer == self.label).mean()), float((answer == self.majority)[voted].mean())

    def test_the_weight_moves_it_from_one_truth_to_the_other(self) -> None:
        of_labels, of_votes = zip(*(self.right(weight) for weight in (0.0, 0.5, 1.0)))
        self.assertGreater(of_labels[0], of_labels[1])
        self.assertGreater(of_labels[1], of_labels[2])
        self.assertLess(of_votes[0], of_votes[1])
        self.assertLess(of_votes[1], of_votes[2])

    def test_it_serves_both_better_than_the_mean_of_logits(self) -> None:
        both = sum(self.right(0.5))
        mean = sum(heads.logits(self.x, layer) for layer in (self.heads.labels, self.heads.votes))
        mean = mean.argmax(dim=1).numpy()
        voted = self.majority >= 0
        self.assertGreater(both, (mean == self.label).mean() + (mean == self.majority)[voted].mean())

    def test_at_weight_nought_it_is_the_first_head(self) -> None:
        first = heads.logits(self.x, self.heads.labels).argmax(dim=1).numpy()
        self.assertGreater((self.answers(0.0) == first).mean(), 0.98)

    def test_a_class_that_is_rarely_found_is_answered_more(self) -> None:
        def recalls(answer: np.ndarray) -> list[float]:
            return [float((answer[self.label == c] == c).mean()) for c in range(N_CLASSES)]

        before, after = recalls(self.answers(0.5)), recalls(self.answers(0.5, 0.5))
        self.assertLess(min(before), 0.5)
        self.assertGreaterEqual(min(after), 0.5)
        self.assertGreater(after[int(np.argmin(before))], min(before))


class Folding(unittest.TestCase):
    def test_folded_heads_answer_with_the_weighted_mean_of_logits(self) -> None:
        for network in ("convnet12", "mini_xception"):   # a dense last layer, and a convolution
            with self.subTest(network=network):
                net = networks.build(network).eval()
                x = torch.randn(4, 1, 48, 48, generator=torch.Generator().manual_seed(1))
                with torch.no_grad():
                    fer, ferplus = net(x).chunk(2, dim=1)
                    folded = networks.fold_heads(net, 0.25)(x)
                torch.testing.assert_close(folded, 0.75 * fer + 0.25 * ferplus, rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    unittest.main()
