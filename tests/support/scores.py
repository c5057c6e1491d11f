"""Mail of any score: the rule that hits is named by a header."""

SCORES = ("1.99", "2.0", "4.99", "5.0", "9.99", "10.0", "10.01")
SCORE_RULES = "".join(
    f"header SCORE_{number} X-Test-Score =~ /^{score.replace('.', '[.]')}$/\nscore SCORE_{number} {score}\n"
    for number, score in enumerate(SCORES)
)
"""For SpamAssassin: a header X-Test-Score with one of the scores gives that score."""
OUTCOMES = {
    "bob@example.com": ["clean", "tagged", "tagged", "held", "held", "over", "over"],
    "dora@example.org": ["tagged", "marked", "marked", "marked", "held", "held", "over"],
}
"""What becomes of each score at the levels 2, 5, 5 and 10, and at those of a domain of its own: 0, 2, 9.99, 10.01."""
