"""What chatd itself says in a mail, in the languages of the interface. The words of people are never touched.

Nothing here counts, so no language needs plural forms. `{…}` are filled in by `notify.compose`.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from types import MappingProxyType

import msgspec

from chatd.i18n import known_locale


class MailTexts(msgspec.Struct, frozen=True, kw_only=True):
    """One language. A missing text does not import."""

    subject: str
    greeting: str
    greeting_nameless: str
    answered: str
    left_out: str
    reply: str
    use_button: str
    use_page: str
    why: str
    months: tuple[str, str, str, str, str, str, str, str, str, str, str, str]
    date: str
    time: str


TEXTS: MappingProxyType[str, MailTexts] = MappingProxyType(
    {
        "en": MailTexts(
            subject="Your chat with {shop}",
            greeting="Hello {name},",
            greeting_nameless="Hello,",
            answered="{shop} has answered you in the chat.",
            left_out="Earlier messages are in the chat.",
            reply="Reply",
            use_button="Please use the button to reply. It opens your chat without a password until {date}, so"
            " do not forward this mail.",
            use_page="To reply, open this page. It shows your chat without a password until {date}, so do not"
            " forward this mail.",
            why="You get this mail because this address was given in a chat with {shop} and the answer had not been"
            " read there. If that was not you, nothing needs to be done.",
            months=("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
            date="{day} {month} {year}",
            time="{date}, {clock} {zone}",
        ),
        "sv": MailTexts(
            subject="Din chatt med {shop}",
            greeting="Hej {name}!",
            greeting_nameless="Hej!",
            answered="{shop} har svarat dig i chatten.",
            left_out="Tidigare meddelanden finns i chatten.",
            reply="Svara",
            use_button="Använd knappen för att svara. Den öppnar din chatt utan lösenord till den {date},"
            " så vidarebefordra inte mejlet.",
            use_page="Öppna den här sidan för att svara. Den visar din chatt utan lösenord till den"
            " {date}, så vidarebefordra inte mejlet.",
            why="Du får det här mejlet eftersom adressen angavs i en chatt med {shop} och svaret inte hade lästs där."
            " Om det inte var du behöver du inte göra något.",
            months=("jan.", "feb.", "mars", "apr.", "maj", "juni", "juli", "aug.", "sep.", "okt.", "nov.", "dec."),
            date="{day} {month} {year}",
            time="{date} kl. {clock} {zone}",
        ),
        "de": MailTexts(
            subject="Ihr Chat mit {shop}",
            greeting="Hallo {name},",
            greeting_nameless="Hallo,",
            answered="{shop} hat Ihnen im Chat geantwortet.",
            left_out="Frühere Nachrichten stehen im Chat.",
            reply="Antworten",
            use_button="Bitte antworten Sie über die Schaltfläche. Sie öffnet Ihren Chat bis zum {date} ohne"
            " Passwort; leiten Sie diese E-Mail daher nicht weiter.",
            use_page="Zum Antworten öffnen Sie bitte diese Seite. Sie zeigt Ihren Chat bis zum {date} ohne"
            " Passwort; leiten Sie diese E-Mail daher nicht weiter.",
            why="Sie erhalten diese E-Mail, weil diese Adresse in einem Chat mit {shop} angegeben und die Antwort dort"
            " noch nicht gelesen wurde. Wenn Sie das nicht waren, müssen Sie nichts tun.",
            months=("Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sept.", "Okt.", "Nov.", "Dez."),
            date="{day}. {month} {year}",
            time="{date}, {clock} {zone}",
        ),
        "es": MailTexts(
            subject="Tu chat con {shop}",
            greeting="Hola, {name}:",
            greeting_nameless="Hola:",
            answered="{shop} te ha respondido en el chat.",
            left_out="Los mensajes anteriores están en el chat.",
            reply="Responder",
            use_button="Para responder, usa el botón. Abre tu chat sin contraseña hasta el {date}; por eso, no"
            " reenvíes este correo.",
            use_page="Para responder, abre esta página. Muestra tu chat sin contraseña hasta el {date}; por"
            " eso, no reenvíes este correo.",
            why="Recibes este correo porque esta dirección se indicó en un chat con {shop} y la respuesta aún no se"
            " había leído allí. Si no fuiste tú, no tienes que hacer nada.",
            months=("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sept", "oct", "nov", "dic"),
            date="{day} {month} {year}",
            time="{date}, {clock} {zone}",
        ),
        "fr": MailTexts(
            subject="Votre discussion avec {shop}",
            greeting="Bonjour {name},",
            greeting_nameless="Bonjour,",
            answered="{shop} vous a répondu dans la discussion.",
            left_out="Les messages précédents se trouvent dans la discussion.",
            reply="Répondre",
            use_button="Pour répondre, utilisez le bouton. Il ouvre votre discussion sans mot de passe jusqu’au"
            " {date}\u00a0; merci de ne pas transférer cet e-mail.",
            use_page="Pour répondre, ouvrez cette page. Elle montre votre discussion sans mot de passe"
            " jusqu’au {date}\u00a0; merci de ne pas transférer cet e-mail.",
            why="Vous recevez cet e-mail parce que cette adresse a été indiquée dans une discussion avec {shop} et que"
            " la réponse n’y avait pas encore été lue. Si ce n’était pas vous, vous n’avez rien à faire.",
            months=("janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."),
            date="{day} {month} {year}",
            time="{date} à {clock} {zone}",
        ),
        "ru": MailTexts(
            subject="Ваш чат с {shop}",
            greeting="Здравствуйте, {name}!",
            greeting_nameless="Здравствуйте!",
            answered="{shop}: вам ответили в чате.",
            left_out="Более ранние сообщения есть в чате.",
            reply="Ответить",
            use_button="Чтобы ответить, нажмите кнопку. Она открывает ваш чат без пароля до {date}, поэтому не"
            " пересылайте это письмо.",
            use_page="Чтобы ответить, откройте эту страницу. На ней ваш чат доступен без пароля до {date},"
            " поэтому не пересылайте это письмо.",
            why="Вы получили это письмо, потому что этот адрес указали в чате с {shop}, а ответ там ещё не был"
            " прочитан. Если это были не вы, ничего делать не нужно.",
            months=(
                "января",
                "февраля",
                "марта",
                "апреля",
                "мая",
                "июня",
                "июля",
                "августа",
                "сентября",
                "октября",
                "ноября",
                "декабря",
            ),
            date="{day} {month} {year} г.",
            time="{date}, {clock} {zone}",
        ),
        "zh": MailTexts(
            subject="您与 {shop} 的聊天",
            greeting="{name}，您好：",
            greeting_nameless="您好：",
            answered="{shop} 已在聊天中回复您。",
            left_out="更早的消息请在聊天中查看。",
            reply="回复",
            use_button="请点击按钮回复。在 {date} 之前，按钮可免密码打开您的聊天，请勿转发此邮件。",
            use_page="请打开以下页面回复。在 {date} 之前，该页面可免密码显示您的聊天，请勿转发此邮件。",
            why="您收到此邮件，是因为有人在与 {shop} 的聊天中填写了此邮箱，而回复当时尚未被阅读。"
            "如果不是您本人，无需任何操作。",
            months=("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"),
            date="{year}年{month}月{day}日",
            time="{date} {clock} {zone}",
        ),
    }
)


def texts_for(customer_locale: str, shop_locale: str) -> tuple[str, MailTexts]:
    """The customer's language if chatd speaks it, else the shop's: its code, and what is said in it."""
    locale = known_locale(customer_locale, known_locale(shop_locale))
    return locale, TEXTS[locale]


def date(texts: MailTexts, at: int, zone: tzinfo) -> str:
    """A day, in the shop's time zone: nobody has said in which one the reader lives."""
    day = datetime.fromtimestamp(at / 1_000, tz=zone)
    return texts.date.format(day=day.day, month=texts.months[day.month - 1], year=day.year)


def time(texts: MailTexts, at: int, zone: tzinfo) -> str:
    """A day and the time, in the shop's time zone, which is named."""
    day = datetime.fromtimestamp(at / 1_000, tz=zone)
    return texts.time.format(date=date(texts, at, zone), clock=f"{day:%H:%M}", zone=_name(day))


def _name(day: datetime) -> str:
    """As people there abbreviate it. Where they do not, the database has the distance: -03."""
    name = day.tzname() or ""
    return f"UTC{name}" if name[:1] in ("+", "-") else name
