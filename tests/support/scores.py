"""Mail of any score: the rule that hits is named by a header."""

SCORES = ("1.99", "2.0", "4.99", "5.0", "9.99", "10.0", "10.01")
SCORE_RULES = "".join(
    f"header SCORE_{number} X-Test-Score =~ /^{score.replace('.', '[.]')}$/\nscore SCORE_{number} {score}\n"
    for number, score in enumerate(SCORES)
)
"""For SpamAssassin: a header X-Test-Score with one of the scores gives that score."""
