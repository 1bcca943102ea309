"""Why a deploy is refused, or meets trouble."""
