"""The commands of the command line. `--help` reads the table `COMMANDS` and imports none of them."""

COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("train", "Train a model."),
    "reproduce": ("train", "Train a run again, and compare."),
    "evaluate": ("evaluate", "Score a model on data it was not trained on."),
    "interpolate": ("generate", "Morph from file A to file B through latent space."),
    "vary": ("generate", "Write variations of a file, at a chosen distance from it."),
    "shift": ("generate", "Change one attribute of a file and keep the rest."),
    "infill": ("make_up", "Make up bars of a melody, or of a piano piece, that fit the bars around them."),
    "continue": ("make_up", "Go on with a melody, or a piano piece, where its file ends."),
    "humanize": ("play", "Play a stiff drum pattern as a person might; the pattern stays."),
    "groove-transfer": ("play", "Play the hits of PATTERN with the dynamics and timing of FEEL."),
    "tap": ("play", "Play a tapped rhythm on a drum kit."),
    "sample": ("generate", "Decode draws from the prior."),
    "grid": ("generate", "Show what lies where in a latent of two numbers."),
    "reconstruct": ("restore", "Put files through a model: what does it keep?"),
    "denoise": ("restore", "Clean sounds or pictures, or repair melodies; the length stays."),
    "upscale": ("restore", "Fill in what a coarse file lacks."),
    "render": ("restore", "Render MIDI files to sound."),
    "inspect": ("inspect", "Say what would be learned from files, and why the rest would not."),
    "attributes": ("inspect", "Measure files: note density, brightness and more."),
    "embed": ("inspect", "Draw a map of files: near in the picture is near in latent space."),
    "models": ("inspect", "List the models that come with the package, and those that can be trained."),
    "export": ("export", "Write a model as files that run without musicae."),
    "prepare": ("train", "Read files into the store that training opens."),
}
"""Command → its module in this package, and the first sentence of its help."""
