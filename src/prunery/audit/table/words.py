"""Headers as plain words: lower case, joined by underscores, without accents, in English."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# German, French, Spanish and Italian words of headers, and the English word that the checks know
_FOREIGN = (
    (r"sparsit(?:at|a)|dunnbesetztheit|parcimonie|esparsidad|escasez", "sparsity"),
    (r"dichte|densite|densidad|densita", "density"),
    (r"genauigkeit|korrektklassifizierungsrate|exactitude?|accuratezza", "accuracy"),
    (r"standardabweichung|streuung|ecart_type|desviacion(?:_(?:estandar|tipica))?|deviazione", "std"),
    (r"fehler(?:rate)?|erreur|errore", "error"),
    (r"mittelwert|durchschnitt|moyenne|promedio", "mean"),
    (r"verfahren|methoden?|metodo", "method"),
    (r"datensatz|datensatze|jeu_de_donnees|donnees|conjunto(?:_de_datos)?|datos", "dataset"),
    (r"modell|modele|modelo|netz|netzwerk|reseau|red_neuronal", "model"),
    (r"schicht|couche|capa", "layer"),
    (r"epoche|epochen|epoques?|epocas?", "epochs"),
    (r"verlust|perte|perdida", "loss"),
    (r"rang|rango", "rank"),
    (r"anzahl|nombre|numero", "number"),
    (r"laufzeit|temps|tiempo|zeit", "time"),
    (r"parametres?|parametros?|gewichte|poids|pesos", "params"),
)
_WITH_SPREAD = re.compile(r"[(\[]?\s*(?:±|\+/-|\\pm)\s*\w*\s*[)\]]?")  # `acc ± std` is an accuracy
_STRUCTURED = re.compile(r"filter|channel|structur|neuron|block|head|nodes|width", re.IGNORECASE)
_PARTS = re.compile(r"(?<=[a-z])(?=genauigkeit|fehler|verlust|sparsitat)")  # Testgenauigkeit
_ACCENTED = {
    "précision": "accuracy",
    "precisión": "accuracy",
    "dispersión": "sparsity",
}  # `precision` itself is of numbers


@lru_cache(maxsize=1 << 16)
def plain(name: str) -> str:
    """Return a header in lower case, its words joined by underscores."""
    name = re.sub(r"\$?\\(?:delta|Delta)\b\$?|[△∆]", "Δ", name.strip())
    name = (_WITH_SPREAD.sub("", name) or "std") if name else name
    name = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", name)
    name = re.sub(r"(?<!\d)\.|\.(?!\d)", " ", name)
    text = re.sub(r"[^\w.%Δ]+|%", "_", name.lower().replace("%", " percent ")).strip("_")
    return text if text.isascii() and not _foreign(text) else _english(text)


def removes_structure(text: str) -> bool:
    """Return whether a name says that more than single weights goes."""
    return bool(_STRUCTURED.search(text)) and "unstruct" not in text.lower()


def _foreign(text: str) -> bool:
    return any(re.search(rf"(?:^|_|[a-z])(?:{words})(?:_|$)", text) for words, _ in _FOREIGN)


def _english(text: str) -> str:
    """Return the words that are known from other languages in English."""
    for word, meaning in _ACCENTED.items():
        text = re.sub(rf"(?:^|(?<=_)){word}(?=_|$)", meaning, text)
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    bare = _PARTS.sub("_", bare.replace("ß", "ss"))
    for words, meaning in _FOREIGN:
        bare = re.sub(rf"(?:^|(?<=_))(?:{words})(?=_|$)", meaning, bare)
    return bare
