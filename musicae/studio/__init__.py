"""The studio: a page in the browser to hear, see and play what models make, and the API under it.

A request never names a file of this machine. What it sends is held in memory (`shelf`), what it asks for is computed
one thing after the other (`desk`), by models that were chosen when the studio was started (`model_rack`). `guard`
refuses requests from elsewhere. The page in `page/` talks to nothing but this.
"""
