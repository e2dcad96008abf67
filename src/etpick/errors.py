"""What can go wrong for a user, each as one sentence: what is wrong, what was found, what to do."""


class EtpickError(Exception):
    """Base of every error that the user can mend; the command line prints its text alone."""


class InputError(EtpickError):
    """A file, array or option that cannot be used as it is."""


class SpacingError(InputError):
    """A voxel spacing that is missing, not believable, or does not fit the model."""


class ModelError(EtpickError):
    """A model folder that is missing, incomplete or not made by this program."""


class OutputError(EtpickError):
    """A result that could not be written, or would overwrite something."""


class TrainingError(EtpickError):
    """Training cannot start or cannot go on."""


class ExternalError(EtpickError):
    """Another program that etpick calls is missing, too old, or has failed."""
