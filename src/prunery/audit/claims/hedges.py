"""Sentences that a table of accuracies cannot decide: other quantities, some cases, others' results."""

from __future__ import annotations

import re

_ELSEWHERE = (  # wishes, conditions, and what others found
    r"would|could|might|should|may|can|if|whether|depend\w*|reported|reports?|original paper|et al"
    r"|according to|claim(?:s|ed)?|literature|expected|previously|hypothe\w+|without (?!pruning)\w+"
    r"|(?:before|prior to|no) (?:fine-?\s?tun|re-?\s?train|recover|rewind)\w*"
    r"|seed \d+|(?:one|single) (?:seed|run)"
)
_OTHER = (  # quantities besides accuracy
    r"fast(?:er|est)|slow(?:er|est)|speed\w*|latency|throughput|memory|errors?|[KMGT]?FLOPs?|[KMGT]?MACs?"
    r"|operations|parameters?(?! (?:removed|pruned|remaining|left))|size|smaller|costs?|cheaper|energy"
    r"|in terms of|robustness|standard (?:deviations?|errors?)|stds?|SDs?|variances?"
    r"|variation|deviations?|error bars?|spread|averag\w+"
)
_SOME = (  # some cases and not others
    r"sometimes|often|usually|mostly|mainly|largely|generally|typically|frequently|occasionally|partly"
    r"|most(?! accurate)|some|many|several|half|(?:one|two|three|four|five|\d+) (?:out )?of the \w+|by up to"
    r"|(?:second|third|next)[- ](?:best|highest|worst|lowest)|one of the|among(?:st)? (?!all\b)"
    r"|nearly the|almost the"
    r"|close to the|joint\w*|tied?|(?:low|high|moderate|medium|extreme|large|small|mild|modest)(?:er)?"
    r" (?:sparsit|compress|pruning)\w*"
)
_DENIED = (  # two clauses, or one that is denied as a whole
    r"(?<!all )but|while|whereas|although|though|not (?:true|always|every|all|the case|clear)|untrue"
    r"|(?:wrong|false) that|no (?:evidence|proof|sign|indication)|cannot (?:conclude|say|claim|be)"
    r"|hardly|doubt\w*|unclear|contrary to"
)
_HEDGED = re.compile(rf"\b(?:{_ELSEWHERE}|{_OTHER}|{_SOME}|{_DENIED})\b", re.IGNORECASE)


def hedged(text: str) -> bool:
    """Return whether a sentence is not about all its accuracies, or not about accuracies."""
    return _HEDGED.search(text) is not None
