"""The words of the prompt itself, beside those of the shop: buttons, hints, what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from journeykit.model.language import fallbacks
from journeykit.model.prompt import PromptKind

#: In the order in which each language has them below.
_KEYS: Final = (
    "announce",
    "close",
    "send",
    "next",
    "back",
    "required",
    "invalid",
    "failed",
    "opt_out",
    "opted_out",
    "thanks",
    "return",
    "ended",
)

#: Language → the words, and the ends of the scales: likely, satisfied, easy.
_WORDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]]] = {
    "en": (
        (
            "A short question, at the end of this page:",
            "Close",
            "Send",
            "Next",
            "Back",
            "Please choose an answer.",
            "That is no answer to this question.",
            "That did not get through. Please try again.",
            "Don’t ask me again",
            "All right. We will not ask you again.",
            "Thank you!",
            "Back to the shop",
            "This question has been closed.",
        ),
        (
            ("Not at all likely", "Extremely likely"),
            ("Very dissatisfied", "Very satisfied"),
            ("Very difficult", "Very easy"),
        ),
    ),
    "de": (
        (
            "Eine kurze Frage, am Ende dieser Seite:",
            "Schließen",
            "Absenden",
            "Weiter",
            "Zurück",
            "Bitte wählen Sie eine Antwort.",
            "Das ist keine Antwort auf diese Frage.",
            "Das ist nicht angekommen. Bitte versuchen Sie es noch einmal.",
            "Nicht mehr fragen",
            "In Ordnung. Wir fragen Sie nicht mehr.",
            "Vielen Dank!",
            "Zurück zum Shop",
            "Diese Frage ist geschlossen.",
        ),
        (
            ("Sehr unwahrscheinlich", "Sehr wahrscheinlich"),
            ("Sehr unzufrieden", "Sehr zufrieden"),
            ("Sehr schwer", "Sehr leicht"),
        ),
    ),
    "fr": (
        (
            "Une courte question, en bas de cette page :",
            "Fermer",
            "Envoyer",
            "Suivant",
            "Retour",
            "Veuillez choisir une réponse.",
            "Ce n’est pas une réponse à cette question.",
            "L’envoi a échoué. Veuillez réessayer.",
            "Ne plus me demander",
            "Entendu. Nous ne vous demanderons plus rien.",
            "Merci !",
            "Retour à la boutique",
            "Cette question est close.",
        ),
        (
            ("Pas du tout probable", "Très probable"),
            ("Très insatisfait", "Très satisfait"),
            ("Très difficile", "Très facile"),
        ),
    ),
    "es": (
        (
            "Una pregunta breve, al final de esta página:",
            "Cerrar",
            "Enviar",
            "Siguiente",
            "Atrás",
            "Elija una respuesta, por favor.",
            "Eso no es una respuesta a esta pregunta.",
            "No se ha podido enviar. Inténtelo de nuevo.",
            "No volver a preguntarme",
            "De acuerdo. No le volveremos a preguntar.",
            "¡Gracias!",
            "Volver a la tienda",
            "Esta pregunta está cerrada.",
        ),
        (
            ("Nada probable", "Muy probable"),
            ("Muy insatisfecho", "Muy satisfecho"),
            ("Muy difícil", "Muy fácil"),
        ),
    ),
    "it": (
        (
            "Una breve domanda, in fondo a questa pagina:",
            "Chiudi",
            "Invia",
            "Avanti",
            "Indietro",
            "Scelga una risposta.",
            "Questa non è una risposta alla domanda.",
            "L’invio non è riuscito. Riprovi, per favore.",
            "Non chiedermelo più",
            "Va bene. Non le chiederemo più nulla.",
            "Grazie!",
            "Torna al negozio",
            "Questa domanda è chiusa.",
        ),
        (
            ("Per niente probabile", "Molto probabile"),
            ("Molto insoddisfatto", "Molto soddisfatto"),
            ("Molto difficile", "Molto facile"),
        ),
    ),
    "nl": (
        (
            "Een korte vraag, onderaan deze pagina:",
            "Sluiten",
            "Versturen",
            "Verder",
            "Terug",
            "Kies een antwoord.",
            "Dat is geen antwoord op deze vraag.",
            "Dat is niet aangekomen. Probeer het nog eens.",
            "Niet meer vragen",
            "Goed. We vragen u niets meer.",
            "Bedankt!",
            "Terug naar de winkel",
            "Deze vraag is gesloten.",
        ),
        (
            ("Zeer onwaarschijnlijk", "Zeer waarschijnlijk"),
            ("Zeer ontevreden", "Zeer tevreden"),
            ("Zeer moeilijk", "Zeer makkelijk"),
        ),
    ),
    "ar": (
        (
            "سؤال قصير في آخر هذه الصفحة:",
            "إغلاق",
            "إرسال",
            "التالي",
            "رجوع",
            "يُرجى اختيار إجابة.",
            "هذه ليست إجابة عن هذا السؤال.",
            "لم تصل الإجابة. يُرجى المحاولة مرة أخرى.",
            "لا تسألني مرة أخرى",
            "حسنًا، لن نسألك مرة أخرى.",
            "شكرًا لك!",
            "العودة إلى المتجر",
            "أُغلق هذا السؤال.",
        ),
        (
            ("غير محتمل إطلاقًا", "محتمل جدًا"),
            ("غير راضٍ إطلاقًا", "راضٍ جدًا"),
            ("صعب جدًا", "سهل جدًا"),
        ),
    ),
    "he": (
        (
            "שאלה קצרה, בסוף העמוד:",
            "סגירה",
            "שליחה",
            "הבא",
            "חזרה",
            "נא לבחור תשובה.",
            "זו אינה תשובה לשאלה.",
            "השליחה נכשלה. נא לנסות שוב.",
            "לא לשאול שוב",
            "בסדר. לא נשאל שוב.",
            "תודה!",
            "חזרה לחנות",
            "השאלה נסגרה.",
        ),
        (
            ("כלל לא סביר", "סביר מאוד"),
            ("מאוד לא מרוצה", "מרוצה מאוד"),
            ("קשה מאוד", "קל מאוד"),
        ),
    ),
}

_ENDS: Final = {PromptKind.NPS: 0, PromptKind.CSAT: 1, PromptKind.CES: 2}


def language_of(wanted: str) -> str:
    """Return the language nearest to *wanted* that there are words in; English if none is."""
    return next((each for each in fallbacks(wanted) if each in _WORDS), "en")


def words(language: str) -> dict[str, str]:
    """Return the words of the prompt itself, by what they are for."""
    return dict(zip(_KEYS, _WORDS[language_of(language)][0], strict=True))


def ends(kind: PromptKind, language: str) -> tuple[str, str] | None:
    """Return what the ends of a scale mean, where the shop does not say; None without a scale."""
    which = _ENDS.get(kind)
    return None if which is None else _WORDS[language_of(language)][1][which]
