"""The contract with users: the custom resources as pydantic models. The CRDs are generated from them."""

GROUP = "mailfilter.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
