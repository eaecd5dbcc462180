"""The Gradio page. Importing it turns Gradio's analytics off: nothing about a visit is sent anywhere."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
