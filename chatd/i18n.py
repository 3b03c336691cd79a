"""Which language to speak, and the few texts that the server itself says to people.

`pick_locale` reads `Accept-Language` (RFC 9110 section 12.5.4, matched as RFC 4647 section 3.4 "Lookup" says). `text`
has the sentences of error pages and the launcher's labels; everything else that people read is in the
catalogues under `static/`, in the browser. A test keeps the languages complete and their placeholders the same.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

LOCALES = ("en", "sv", "de", "es", "fr", "ru", "zh")
DEFAULT_LOCALE = "en"

HEADER_CHARACTERS_MAX = 1_000  # browsers send below 100; more is read by nobody's hand
RANGES_MAX = 20


def known_locale(wanted: str, default: str = DEFAULT_LOCALE) -> str:
    """The language of a tag like `de-AT`, or the default when chatd does not speak it."""
    tag = wanted.strip().lower().replace("_", "-")
    language = tag.split("-", 1)[0]
    return language if language in LOCALES else default


def pick_locale(accept_language: str | None, default: str = DEFAULT_LOCALE) -> str:
    """The language that the reader likes best among those that chatd speaks. Anything malformed is passed over."""
    best, best_quality = default, 0.0
    for part in (accept_language or "")[:HEADER_CHARACTERS_MAX].split(",")[:RANGES_MAX]:
        tag, _, parameter = part.partition(";")
        quality = _quality(parameter)
        tag = tag.strip()
        found = default if tag == "*" else known_locale(tag, "")
        if found and quality > best_quality:
            best, best_quality = found, quality
    return best


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        quality = float(value) if name.strip().lower() == "q" else 0.0
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0


def text(locale: str, key: str, **facts: Any) -> str:
    """The sentence in this language, its facts filled in. Raises `KeyError` for a key that does not exist."""
    return TEXTS[known_locale(locale)][key].format(**facts)


def texts(locale: str, prefix: str) -> dict[str, str]:
    """All texts whose key begins with `prefix.`, without it."""
    start = f"{prefix}."
    catalogue = TEXTS[known_locale(locale)]
    return {key.removeprefix(start): value for key, value in catalogue.items() if key.startswith(start)}


_KEYS = (
    "launcher.open",
    "launcher.close",
    "launcher.failed",
    "error.title",
    "error.back",
    "error.400",
    "error.403",
    "error.404",
    "error.413",
    "error.429",
    "error.500",
    "error.503",
    "error.foreign_origin",
    "error.request",
)


def _catalogue(*sentences: str) -> MappingProxyType[str, str]:
    return MappingProxyType(dict(zip(_KEYS, sentences, strict=True)))


TEXTS: MappingProxyType[str, MappingProxyType[str, str]] = MappingProxyType(
    {
        "en": _catalogue(
            "Chat with us",
            "Close the chat",
            "The chat could not be loaded. Try again.",
            "Something is not right",
            "Back to the inbox",
            "chatd did not understand this request.",
            "You may not do this.",
            "There is nothing here.",
            "That was more than chatd takes at once.",
            "Too many requests. Please wait a moment.",
            "This should not have happened. It has been written down.",
            "chatd cannot do this right now. Please try again.",
            "This came from a page of another address. Open {base_url} and try again there.",
            "Request {id}",
        ),
        "sv": _catalogue(
            "Chatta med oss",
            "Stäng chatten",
            "Chatten kunde inte laddas. Försök igen.",
            "Något stämmer inte",
            "Tillbaka till inkorgen",
            "chatd förstod inte begäran.",
            "Du får inte göra det här.",
            "Här finns ingenting.",
            "Det var mer än chatd tar emot på en gång.",
            "För många förfrågningar. Vänta en stund.",
            "Det här skulle inte ha hänt. Det har antecknats.",
            "chatd kan inte göra det just nu. Försök igen.",
            "Det här kom från en sida på en annan adress. Öppna {base_url} och försök igen där.",
            "Begäran {id}",
        ),
        "de": _catalogue(
            "Mit uns chatten",
            "Chat schließen",
            "Der Chat konnte nicht geladen werden. Bitte erneut versuchen.",
            "Etwas stimmt nicht",
            "Zurück zum Posteingang",
            "chatd hat diese Anfrage nicht verstanden.",
            "Das ist hier nicht erlaubt.",
            "Hier ist nichts.",
            "Das war mehr, als chatd auf einmal annimmt.",
            "Zu viele Anfragen. Bitte einen Moment warten.",
            "Das hätte nicht passieren dürfen. Es wurde festgehalten.",
            "chatd kann das gerade nicht tun. Bitte erneut versuchen.",
            "Das kam von einer Seite unter einer anderen Adresse. Bitte {base_url} öffnen und dort neu versuchen.",
            "Anfrage {id}",
        ),
        "es": _catalogue(
            "Chatea con nosotros",
            "Cerrar el chat",
            "No se pudo cargar el chat. Inténtalo de nuevo.",
            "Algo no está bien",
            "Volver a la bandeja de entrada",
            "chatd no entendió esta solicitud.",
            "No tienes permiso para hacer esto.",
            "Aquí no hay nada.",
            "Eso es más de lo que chatd admite de una vez.",
            "Demasiadas solicitudes. Espera un momento.",
            "Esto no debería haber ocurrido. Ha quedado registrado.",
            "chatd no puede hacerlo ahora mismo. Inténtalo de nuevo.",
            "Esto llegó desde una página de otra dirección. Abre {base_url} e inténtalo allí.",
            "Solicitud {id}",
        ),
        "fr": _catalogue(
            "Discuter avec nous",
            "Fermer la discussion",
            "La discussion n’a pas pu être chargée. Réessayez.",
            "Quelque chose ne va pas",
            "Retour à la boîte de réception",
            "chatd n’a pas compris cette demande.",
            "Vous n’avez pas le droit de faire cela.",
            "Il n’y a rien ici.",
            "C’est plus que ce que chatd accepte en une fois.",
            "Trop de demandes. Patientez un instant.",
            "Cela n’aurait pas dû arriver. L’incident a été noté.",
            "chatd ne peut pas le faire pour le moment. Veuillez réessayer.",
            "Cela provenait d’une page d’une autre adresse. Ouvrez {base_url} et réessayez là.",
            "Demande {id}",
        ),
        "ru": _catalogue(
            "Напишите нам",
            "Закрыть чат",
            "Не удалось загрузить чат. Попробуйте ещё раз.",
            "Что-то не так",
            "Вернуться к сообщениям",
            "chatd не понял этот запрос.",
            "У вас нет на это права.",
            "Здесь ничего нет.",
            "Это больше, чем chatd принимает за один раз.",
            "Слишком много запросов. Подождите немного.",
            "Этого не должно было случиться. Сбой записан.",
            "Сейчас chatd не может этого сделать. Попробуйте ещё раз.",
            "Запрос пришёл со страницы другого адреса. Откройте {base_url} и попробуйте там.",
            "Запрос {id}",
        ),
        "zh": _catalogue(
            "与我们聊天",
            "关闭聊天",
            "聊天加载失败，请重试。",
            "出了点问题",
            "返回收件箱",
            "chatd 无法理解此请求。",
            "您无权执行此操作。",
            "这里什么都没有。",
            "内容超出了 chatd 一次可接收的大小。",
            "请求过多，请稍候。",
            "这本不该发生，问题已被记录。",
            "chatd 暂时无法完成此操作，请重试。",
            "该请求来自其他地址的页面。请打开 {base_url} 后重试。",
            "请求 {id}",
        ),
    }
)
