"""Questions about the ground and about the images: water and land, town and country, weather, which sensor shows."""

from collections.abc import Iterator

from rsvl.data.synth.object_questions import BRIGHT, ZONES, covered, region
from rsvl.data.synth.question_draft import QuestionDraft, View, yes

#: Shares of the image that are surely something, and surely next to nothing.
_SOME, _NONE = 0.04, 0.002
#: Shares from which one ground is most of a part of the image, and below which the other is.
_MOST, _LEAST = 0.8, 0.2
#: Settings that are surely town or country.
_AREAS = {"residential": "urban", "industrial": "urban", "countryside": "rural"}


def cover_presence(view: View) -> Iterator[QuestionDraft]:
    """Whether there is open water, or dry land."""
    water = float(view.scene.water.mean())
    for what, share in (("open water", water), ("dry land", 1 - water)):
        if share >= _SOME or share <= _NONE:
            text = view.pick(f"Is there {what} in the image?", f"Does the image show {what}?")
            yield QuestionDraft("cover presence", text, yes(share >= _SOME), what)


def cover(view: View) -> Iterator[QuestionDraft]:
    """Which ground is most of the image, or of a part of it."""
    bare = ~covered(view)
    for zone in ("", *ZONES):
        part = region(zone, view.size) if zone else (slice(None), slice(None))
        if bare[part].mean() < 0.6:
            continue
        share = float(view.scene.water[part][bare[part]].mean())
        if share >= _MOST or share <= _LEAST:
            where = f"the {zone} of the image" if zone else "most of the image"
            yield QuestionDraft(
                "cover", f"What covers {where}, water or land?", "water" if share >= _MOST else "land", zone
            )


def area(view: View) -> Iterator[QuestionDraft]:
    """Whether it is town or country."""
    if view.scene.setting in _AREAS:
        text = view.pick("Is this a rural or an urban area?", "Is the area urban or rural?")
        yield QuestionDraft("rural or urban", text, _AREAS[view.scene.setting])


def quality(view: View) -> Iterator[QuestionDraft]:
    """What degrades the optical image."""
    if view.optical:
        text = view.pick("What is the condition of the optical image?", "How good is the view of the optical sensor?")
        yield QuestionDraft("optical quality", text, view.condition)


def sensor(view: View) -> Iterator[QuestionDraft]:
    """Whether both sensors show an object that stands out in the radar image, or the radar alone."""
    if not (view.optical and view.sar):
        return
    for i, name in view.names.items():
        thing, hidden = view.objects[i], view.cover(view.objects[i])
        if thing.category in BRIGHT and (hidden < 0.05 or hidden > 0.9):
            text = view.pick(f"Which sensor shows {name.text}?", f"Where can {name.text} be seen, in SAR or in both?")
            yield QuestionDraft("sensor", text, "SAR" if hidden > 0.9 else "both", thing.category, (i,))
