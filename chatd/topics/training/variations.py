"""How people really type: slips of the finger, chat spelling, words and signs left out, a greeting, a plea.

Everything here takes its chances from a `random.Random` that is handed in, so the same seed gives the same corpus.
"""

from __future__ import annotations

import random
import re
from types import MappingProxyType


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split(" | "))


CHAT = MappingProxyType(
    {
        "en": {
            "you": ("u", "yu", "ya"),
            "your": ("ur", "yr"),
            "are": ("r",),
            "please": ("pls", "plz", "plss"),
            "thanks": ("thx", "tnx"),
            "what": ("wat", "wht", "waht"),
            "when": ("wen", "whn"),
            "where": ("were", "wher", "wheres"),
            "how": ("hw", "hou"),
            "much": ("mutch", "mch"),
            "is": ("iz", "s"),
            "the": ("d", "teh", "th"),
            "this": ("dis", "ths"),
            "that": ("dat", "tht"),
            "have": ("hav", "hv"),
            "available": ("avail", "availble", "avaliable", "avilable", "availabe"),
            "delivery": ("delivry", "delivary", "dilivery", "delievery"),
            "deliver": ("delivr", "delever"),
            "delivered": ("deliverd", "delivred"),
            "received": ("recieved", "recived", "receved"),
            "receive": ("recieve", "recive"),
            "order": ("oder", "ordr", "orde", "ordee"),
            "ordered": ("orderd", "orded"),
            "price": ("prise", "pric", "prce"),
            "discount": ("discont", "disscount", "dicount"),
            "shipping": ("shiping", "shippng", "shippin"),
            "return": ("retun", "retrun", "ritern"),
            "refund": ("refnd", "re fund", "rufund"),
            "cancel": ("cancle", "cncl", "cancell"),
            "address": ("adress", "addres", "adrs"),
            "product": ("prodct", "produkt", "prduct"),
            "size": ("sise", "siz"),
            "color": ("colour", "colur", "clr"),
            "tracking": ("traking", "trackin"),
            "wholesale": ("whole sale", "wholsale", "hole sale"),
            "because": ("bcoz", "cuz", "bc"),
            "tomorrow": ("tmrw", "tomorow", "tommorow"),
            "today": ("2day", "tody"),
            "for": ("4", "fr"),
            "to": ("2",),
            "and": ("n", "&", "nd"),
            "want": ("wan", "wnt", "wanna"),
            "need": ("ned", "nid"),
            "with": ("wid", "w"),
            "can": ("cn", "cam"),
            "not": ("nt", "nit"),
            "does": ("do", "dose"),
            "dont": ("don't", "do not", "dnt"),
            "cant": ("can't", "cannot", "cnt"),
            "whats": ("what's", "wats", "what is"),
            "im": ("i'm", "i am", "iam"),
            "doesnt": ("doesn't", "dosent", "does not"),
            "didnt": ("didn't", "did not", "dint"),
            "havent": ("haven't", "have not"),
        },
        "sv": {
            "är": ("e", "ä"),
            "det": ("de",),
            "och": ("o", "å"),
            "jag": ("ja", "jg"),
            "också": ("oxå",),
            "något": ("nåt",),
            "någon": ("nån",),
            "beställning": ("bestälning",),
            "vad": ("va",),
            "mig": ("mej",),
        },
        "de": {
            "ist": ("is",),
            "nicht": ("nich", "net"),
            "eine": ("ne",),
            "einen": ("nen",),
            "habe": ("hab",),
            "ich": ("i",),
            "bitte": ("bidde", "bitt"),
            "bestellung": ("bestelung", "bestellng"),
            "möchte": ("moechte", "möcht"),
            "für": ("fuer", "fur"),
            "größe": ("groesse", "grösse", "grosse"),
            "und": ("u",),
        },
        "es": {
            "que": ("q", "k"),
            "por": ("x",),
            "también": ("tb",),
            "para": ("pa", "xa"),
            "envío": ("envio",),
            "cuánto": ("cuanto", "qnto"),
            "tienen": ("tienes", "tiene"),
            "hacen": ("hasen",),
            "quiero": ("kiero", "qiero"),
        },
        "fr": {
            "c'est": ("c", "cest"),
            "combien": ("cb", "conbien"),
            "vous": ("vs", "vou"),
            "avez": ("ave",),
            "commande": ("comande", "cmd"),
            "quand": ("kan", "qd"),
            "bonjour": ("bjr",),
            "beaucoup": ("bcp",),
            "livraison": ("livraisson",),
            "est-ce": ("esce", "es ce"),
            "je": ("j",),
        },
        "ru": {
            "сейчас": ("щас",),
            "пожалуйста": ("плиз", "пж", "пожалуста"),
            "здравствуйте": ("здраствуйте", "здрасте"),
            "сколько": ("скока", "сколька"),
            "когда": ("кагда", "када"),
            "что": ("че", "шо"),
            "доставка": ("даставка", "доставк"),
            "хочу": ("хачу",),
        },
        "zh": {"吗": ("嘛", "么", ""), "的": ("滴", ""), "多少": ("多小",), "什么": ("啥", "神马"), "怎么": ("咋",)},
    }
)
DROPPED = MappingProxyType(
    {
        "en": _words("the a an is are do does i to of my your it be will can you have please for me there am"),
        "sv": _words("är en ett det den jag ni har kan man på"),
        "de": _words("ist ein eine der die das ich ihr sie es den habt"),
        "es": _words("el la un una es de me los las mi"),
        "fr": _words("le la un une est de je vous les mon ma"),
        "ru": _words("у вас есть ли на в вы я мой"),
        "zh": frozenset(),
    }
)
BEFORE = MappingProxyType(
    {
        "en": _phrases(
            "hi | hello | hey | hi there | good morning | hello, | hi! | sir | please | sorry | ok"
            " | dear team, | and | so | also | excuse me | hello dear | hi, quick question: | yes | no"
            " | thanks. | hi i wanted to ask"
        ),
        "sv": _phrases("hej | hej! | hejsan | hallå | ursäkta | okej | hej, undrar | och"),
        "de": _phrases("hallo | guten tag | hi | moin | hallo, | sorry | ok | und | kurze frage:"),
        "es": _phrases("hola | buenas | hola, | buenos días | disculpe | ok | y | una consulta:"),
        "fr": _phrases("bonjour | bonjour, | salut | bonsoir | svp | ok | et | petite question:"),
        "ru": _phrases("здравствуйте | добрый день | привет | подскажите | скажите пожалуйста | а | и"),
        "zh": _phrases("你好 | 您好， | 亲， | 请问 | 在吗  | 那"),
    }
)
AFTER = MappingProxyType(
    {
        "en": _phrases(
            "please | pls | thanks | thx | thank you | sir | asap | ??? | plz reply | ?? thanks | bro | mam | :)"
        ),
        "sv": _phrases("tack | tack! | mvh | snälla | tack på förhand | ?? | :)"),
        "de": _phrases("danke | bitte | danke! | lg | vielen dank | ?? | mfg"),
        "es": _phrases("por favor | gracias | porfa | gracias! | ?? | saludos"),
        "fr": _phrases("svp | merci | merci d'avance | ?? | cordialement | stp"),
        "ru": _phrases("пожалуйста | спасибо | заранее спасибо | ?? | плиз | )"),
        "zh": _phrases("谢谢 | ？？ | 呢 | 啊 | 亲 | 呀"),
    }
)
_KEYS = "qwertyuiop asdfghjkl zxcvbnm йцукенгшщзхъ фывапролджэ ячсмитьбю"


def slip(text: str, chance: random.Random) -> str:
    """One slip of the finger: a letter dropped, doubled, swapped or hit beside."""
    places = [index for index, sign in enumerate(text) if sign.isalpha()]
    if len(places) < 4:
        return text
    place = chance.choice(places)
    sign = text[place]
    kind = chance.random()
    if kind < 0.35:
        return text[:place] + text[place + 1 :]
    if kind < 0.5:
        return text[:place] + sign + text[place:]
    if kind < 0.8 and place + 1 < len(text) and text[place + 1].isalpha():
        return text[:place] + text[place + 1] + sign + text[place + 2 :]
    key = _KEYS.find(sign.lower())
    if key < 0:
        return text
    beside = _KEYS[max(0, key - 1) : key + 2].replace(sign.lower(), "").strip()
    return text[:place] + (chance.choice(beside) if beside else "") + text[place + 1 :]


def as_in_chat(text: str, language: str, chance: random.Random, share: float = 0.45) -> str:
    spellings = CHAT.get(language, {})
    if language == "zh":
        for word, others in spellings.items():
            if word in text and chance.random() < share / 2:
                text = text.replace(word, chance.choice(others))
        return text
    return " ".join(
        chance.choice(spellings[word]) if word in spellings and chance.random() < share else word
        for word in text.split()
    )


def drop_words(text: str, language: str, chance: random.Random) -> str:
    words = text.split()
    kept = [word for word in words if word not in DROPPED.get(language, ()) or chance.random() < 0.45]
    return " ".join(kept) if len(kept) >= 2 or len(words) < 2 else text


def change_signs(text: str, chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.3:
        return re.sub(r"[?.,!'’？，。]+", "", text)
    if kind < 0.5 and not text.endswith("?"):
        return text + chance.choice(("?", "?", "??", " ?", ".", "!", "..."))
    if kind < 0.62:
        return text[:1].upper() + text[1:]
    if kind < 0.66:
        return text.upper()
    if kind < 0.7:
        return text.title()
    return text


def vary(text: str, language: str, chance: random.Random, strength: float = 1.0) -> str:
    """One way in which a hurried person could have typed this. With no strength, only signs and capitals change."""
    if chance.random() < 0.3 * strength:
        text = as_in_chat(text, language, chance)
    if chance.random() < 0.22 * strength:
        text = drop_words(text, language, chance)
    if chance.random() < 0.13 * strength:
        text = joined(chance.choice(BEFORE[language]), text, language)
    if chance.random() < 0.1 * strength:
        text = joined(text, chance.choice(AFTER[language]), language)
    text = change_signs(text, chance)
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2)) if chance.random() < strength else 0):
        text = slip(text, chance)
    return text.strip() or "."


def joined(left: str, right: str, language: str) -> str:
    return f"{left}{right}" if language == "zh" else f"{left} {right}"
